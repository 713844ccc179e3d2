// Verify an export with what the Go project made for its own checksum database: sumdb/note opens the checkpoint,
// sumdb/tlog rebuilds the root from the bundles and proves every record from the tiles. Nothing here is of ours but
// the names of the files.
//
//	verify FOLDER VKEY
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8 // https://c2sp.org/tlog-tiles

var folder = os.Args[1]

func main() {
	verifier, err := note.NewVerifier(os.Args[2])
	check(err, "the key")
	signed := read("checkpoint")
	tree := open(signed, verifier)
	if _, err := os.Stat(filepath.Join(folder, "tile")); err == nil {
		whole(tree)
	} else {
		part(tree, verifier)
	}
}

func open(signed []byte, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	check(err, "the checkpoint")
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		fail("the checkpoint is not one of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "the size")
	root, err := tlog.ParseHash(lines[2])
	check(err, "the root")
	return tlog.Tree{N: size, Hash: root}
}

func whole(tree tlog.Tree) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	var records [][]byte
	for n := int64(0); n*256 < tree.N; n++ {
		bundle := read(path("entries", tlog.Tile{H: height, L: 0, N: n, W: int(min(256, tree.N-n*256))}))
		for len(bundle) > 1 {
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			if length > len(bundle) {
				fail("entry %d is cut off", len(records))
			}
			hashes, err := tlog.StoredHashes(int64(len(records)), bundle[2:length], reader)
			check(err, "the tree")
			stored = append(stored, hashes...)
			records, bundle = append(records, bundle[2:length]), bundle[length:]
		}
		if len(bundle) > 0 || int64(len(records)) != (n+1)*256 && int64(len(records)) != tree.N {
			fail("the bundle that ends with entry %d has another length", len(records)-1)
		}
	}
	if int64(len(records)) != tree.N {
		fail("%d entries stand and %d were signed", len(records), tree.N)
	}
	root, err := tlog.TreeHash(tree.N, reader)
	check(err, "the root")
	if root != tree.Hash {
		fail("the root over the bundles is not the signed one")
	}
	lines := bytes.SplitAfter(read("entries.jsonl"), []byte("\n"))
	if int64(len(lines)) != tree.N+1 || len(lines[tree.N]) > 0 {
		fail("%d lines stand in entries.jsonl", len(lines))
	}
	tiles := tlog.TileHashReader(tree, tileReader{})
	for i, record := range records {
		proof, err := tlog.ProveRecord(tree.N, int64(i), tiles)
		check(err, fmt.Sprintf("entry %d: the tiles", i))
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(i), tlog.RecordHash(record)), fmt.Sprintf("entry %d", i))
		if string(lines[i]) != string(record)+"\n" {
			fail("entry %d: entries.jsonl has another", i)
		}
	}
	fmt.Printf("OK: %d entries, root %x\n", tree.N, tree.Hash[:])
}

func part(tree tlog.Tree, verifier note.Verifier) {
	proofs, err := filepath.Glob(filepath.Join(folder, "proofs", "*.tlog-proof"))
	check(err, "the proofs")
	lines := bytes.Split(bytes.TrimSuffix(read("entries.jsonl"), []byte("\n")), []byte("\n"))
	if len(lines) != len(proofs) {
		fail("%d entries and %d proofs", len(lines), len(proofs))
	}
	leaves := map[tlog.Hash]bool{}
	for _, line := range lines {
		leaves[tlog.RecordHash(line)] = true
	}
	for _, name := range proofs {
		index, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".tlog-proof"), 10, 64)
		check(err, name)
		head, signed, _ := bytes.Cut(read(filepath.Join("proofs", filepath.Base(name))), []byte("\n\n"))
		if open(signed, verifier) != tree {
			fail("%s is of another checkpoint", name)
		}
		rows := strings.Split(string(head), "\n")
		if len(rows) < 3 || rows[0] != "c2sp.org/tlog-proof@v1" || rows[2] != fmt.Sprintf("index %d", index) {
			fail("%s is no proof of entry %d", name, index)
		}
		var proof tlog.RecordProof
		for _, row := range rows[3:] {
			hash, err := base64.StdEncoding.DecodeString(row)
			check(err, name)
			if len(hash) != tlog.HashSize {
				fail("%s has a hash of %d bytes", name, len(hash))
			}
			proof = append(proof, *(*tlog.Hash)(hash))
		}
		proven := false
		for leaf := range leaves {
			if tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf) == nil {
				proven = true
				delete(leaves, leaf)
			}
		}
		if !proven {
			fail("%s proves none of the entries", name)
		}
	}
	fmt.Printf("OK: %d of %d entries, root %x\n", len(proofs), tree.N, tree.Hash[:])
}

type tileReader struct{}

func (tileReader) Height() int { return height }

func (tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		data = append(data, read(path(strconv.Itoa(tile.L), tile)))
	}
	return data, nil
}

// The path in C2SP tlog-tiles: as in the checksum database, but without the height.
func path(level string, tile tlog.Tile) string {
	return "tile/" + level + "/" + strings.SplitN(tile.Path(), "/", 4)[3]
}

func read(name string) []byte {
	data, err := os.ReadFile(filepath.Join(folder, name))
	check(err, name)
	return data
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, given ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", given...)
	os.Exit(1)
}
