"""Signed notes, verifier keys and key files, checked by hand where another implementation would read them."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import (
    BadCheckpoint,
    BadKey,
    Checkpoint,
    key_id,
    load_key_file,
    log_origin,
    make_key_file,
    parse_verifier_key,
    sign,
    verifier_key,
    verify,
)

NAME = "test.example/default"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
HEAD = Checkpoint(NAME, 7, bytes(range(32)))
NOTE = sign(HEAD, NAME, KEY)


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def signed(body: str) -> str:
    """A note over any body that our key did sign, made by hand."""
    line = base64.b64encode(key_id(NAME, PUBLIC) + KEY.sign(body.encode())).decode()
    return f"{body}\n\u2014 {NAME} {line}\n"


def test_a_note_is_what_c2sp_says() -> None:
    root = base64.b64encode(bytes(range(32))).decode()
    body, _, signature = NOTE.partition("\n\n")
    assert body == f"test.example/default\n7\n{root}"
    dash, name, encoded = signature.removesuffix("\n").split(" ")
    assert (dash, name) == ("\N{EM DASH}", NAME)
    blob = base64.b64decode(encoded)
    assert blob[:4] == hashlib.sha256(NAME.encode() + b"\n\x01" + raw(KEY)).digest()[:4]
    PUBLIC.verify(blob[4:], f"{body}\n".encode())


def test_a_verifier_key_is_what_c2sp_says() -> None:
    text = verifier_key(NAME, PUBLIC)
    name, number, encoded = text.split("+", 2)
    assert name == NAME
    assert number == hashlib.sha256(NAME.encode() + b"\n\x01" + raw(KEY)).hexdigest()[:8]
    assert base64.b64decode(encoded) == b"\x01" + raw(KEY)


def test_the_verifier_key_that_the_specification_of_go_prints() -> None:
    """golang.org/x/mod/sumdb/note, the example PeterNeumann."""
    name, public = parse_verifier_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert name == "PeterNeumann"
    assert key_id(name, public).hex() == "c74f20a3"


def test_round_trips() -> None:
    assert verify(NOTE, NAME, PUBLIC) == HEAD
    name, public = parse_verifier_key(f"{verifier_key(NAME, PUBLIC)}\n")
    assert verify(NOTE, name, public) == HEAD
    assert log_origin("test.example", "default") == NAME


def test_signatures_of_others_are_passed_over() -> None:
    witness = sign(HEAD, "witness.example", OTHER).partition("\n\n")[2]
    body, _, own = NOTE.partition("\n\n")
    assert verify(f"{body}\n\n{witness}{own}", NAME, PUBLIC) == HEAD
    with pytest.raises(BadCheckpoint, match="no signature"):
        verify(f"{body}\n\n{witness}", NAME, PUBLIC)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "\n\n\n",
        NOTE.replace("\n7\n", "\n8\n"),
        NOTE.replace("default", "other", 1),
        NOTE.replace("default", "other"),
        NOTE.replace("\u2014", "-"),
        NOTE.removesuffix("\n"),
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("\n\n", "\nextension\n\n"),
        NOTE.partition("\n\n")[0] + "\n\n",
        sign(HEAD, NAME, OTHER),
        sign(HEAD, "someone.else", KEY),
        signed(f"{NAME}\n07\n{base64.b64encode(bytes(32)).decode()}\n"),
        signed(f"{NAME}\n+7\n{base64.b64encode(bytes(32)).decode()}\n"),
        signed(f"{NAME}\n٧\n{base64.b64encode(bytes(32)).decode()}\n"),
        signed(f"{NAME}\nseven\n{base64.b64encode(bytes(32)).decode()}\n"),
        signed(f"{NAME}\n7\n{base64.b64encode(bytes(31)).decode()}\n"),
        signed(f"{NAME}\n7\nnot base64\n"),
        signed(f"{NAME}\n7\n\n"),
        signed(f"{NAME}\n{'9' * 5000}\n{base64.b64encode(bytes(32)).decode()}\n"),
        "\ud800\n7\n\n\n\u2014 x y\n",
    ],
)
def test_no_other_note_is_a_checkpoint(note: str) -> None:
    with pytest.raises(BadCheckpoint):
        verify(note, NAME, PUBLIC)


@given(
    st.one_of(
        st.text(),
        st.text(alphabet="\n 7\u2014=A\u2028\x85\ud800", max_size=40).map(lambda t: f"{t}\n\n\u2014 {NAME} {t}\n"),
        st.binary(max_size=80).map(lambda b: f"a\n1\nb\n\n\u2014 {NAME} {base64.b64encode(b).decode()}\n"),
        st.binary(max_size=80).map(
            lambda b: f"a\n1\nb\n\n\u2014 {NAME} {base64.b64encode(key_id(NAME, PUBLIC) + b).decode()}\n"
        ),
        st.text(alphabet="\n 07-+=Aé", max_size=60).map(signed),
    )
)  # fmt: skip
def test_what_is_no_checkpoint_is_never_anything_but_a_bad_one(note: str) -> None:
    with pytest.raises(BadCheckpoint):
        verify(note, NAME, PUBLIC)


@given(place=st.integers(0, len(NOTE.encode()) - 1), bit=st.integers(0, 7))
def test_a_note_with_any_bit_flipped_is_refused_or_says_the_same(place: int, bit: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[place] ^= 1 << bit
    try:
        assert verify(changed.decode("utf-8", "replace"), NAME, PUBLIC) == HEAD  # spare bits of base64 say nothing
    except BadCheckpoint:
        return
    assert bytes(changed[: NOTE.encode().index(b"\n\n")]) == NOTE.encode().partition(b"\n\n")[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        "name+00000000+!!!!",
        verifier_key(NAME, PUBLIC).replace("default", "other"),
        verifier_key(NAME, PUBLIC)[:-8],
        f"{NAME}+{key_id(NAME, PUBLIC).hex()}+{base64.b64encode(bytes([2]) + raw(KEY)).decode()}",
    ],
)
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(BadKey):
        parse_verifier_key(text)


def test_a_key_file_is_its_owners_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    made = make_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert raw(load_key_file(path)) == raw(made)
    with pytest.raises(FileExistsError):
        make_key_file(path)
    assert raw(load_key_file(path)) == raw(made)


def test_what_is_no_key_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    with pytest.raises(BadKey, match=r"ledger\.key: No such file or directory: put it back"):
        load_key_file(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(BadKey, match="no Ed25519 key as `counterfoil init` writes one: put"):
        load_key_file(path)
    pem = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    with pytest.raises(BadKey, match="no Ed25519 key as"):
        load_key_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadKey, match="Is a directory: put"):
        load_key_file(path)
