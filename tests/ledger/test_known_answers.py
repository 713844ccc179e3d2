"""What others published: signed notes, canonical JSON, and a checkpoint. The tree's are in test_merkle.py."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import witness
from ledger.checkpoint import (
    BadCheckpoint,
    key_id,
    open_note,
    parse_verifier_key,
    signature_line,
    signer_ids,
    verifier_key,
)
from ledger.entry import MAX_INTEGER, NotCanonical, canonical

# golang.org/x/mod/sumdb/note, the package's own example. C2SP signed-note describes that format.
PETER = "PeterNeumann"
PETERS_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETERS_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# https://c2sp.org/signed-note: its text has an empty line of its own. The key is not published.
SALVATORE = "quasimodo.example/salvatore"
SALVATORES_NOTE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihA"
    "QwaqP3ZekRwNtIc=\n"
)
# https://c2sp.org/tlog-checkpoint
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+"
    "zyWE+xeMcTOAYQ8=\n"
)


def test_the_note_of_gos_example_opens_under_its_key() -> None:
    name, public = parse_verifier_key(PETERS_VERIFIER)
    assert open_note(f"{PETERS_TEXT}\n{PETERS_LINE}", name, public) == PETERS_TEXT
    for changed in (PETERS_TEXT.replace("answer", "question"), f"{PETERS_TEXT}\n"):
        with pytest.raises(BadCheckpoint, match="does not hold"):
            open_note(f"{changed}\n{PETERS_LINE}", name, public)


def test_we_sign_it_as_go_does() -> None:
    encoded = PETERS_SIGNER.split("+", 4)[4]
    algorithm, *seed = base64.b64decode(encoded)
    key = Ed25519PrivateKey.from_private_bytes(bytes(seed))
    assert (algorithm, verifier_key(PETER, key.public_key())) == (1, PETERS_VERIFIER)
    assert key_id(PETER, key.public_key()).hex() == "c74f20a3"
    assert signature_line(PETERS_TEXT, PETER, key) == PETERS_LINE


def test_the_note_of_the_specification_is_read_from_its_last_empty_line() -> None:
    assert signer_ids(SALVATORES_NOTE, SALVATORE) == [bytes.fromhex("367ba04b")]
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    with pytest.raises(BadCheckpoint, match="no signature by quasimodo"):
        open_note(SALVATORES_NOTE, SALVATORE, stranger)


def test_the_checkpoint_of_the_specification_is_found_in_a_file() -> None:
    assert witness.split_notes(f"kept in March\n\n{SOFA}\n") == [SOFA]
    assert signer_ids(SOFA, "example.com/behind-the-sofa") == [bytes.fromhex("033de0ae")]
    assert witness.origin_of(SOFA) == "example.com/behind-the-sofa"


def test_the_document_of_rfc_8785() -> None:
    """3.2.2 to 3.2.4, without its numbers, which this profile writes as text."""
    value = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f", "literals": [None, True, False]}
    assert canonical(value) == bytes.fromhex(
        "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c"
        "22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (-0, "0"), (1, "1"), (-1, "-1"), (MAX_INTEGER, "9007199254740991"), (-MAX_INTEGER, "-9007199254740991")],
)
def test_integers_are_as_ecmascript_writes_them(number: int, text: str) -> None:
    assert canonical({"n": number}) == f'{{"n":{text}}}'.encode()


@pytest.mark.parametrize(
    "number",
    # RFC 8785, 3.2.2 and Appendix B: each has a canonical form there, and none in this profile.
    [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27, 5e-324, -0.0, 1.0, 9007199254740992, -9007199254740992, 1e21],
)
def test_other_numbers_have_no_form_in_this_profile(number: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical({"n": number})


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\b\t\n\f\r", r'"\b\t\n\f\r"'),
        ("\x00\x1f", r'"\u0000\u001f"'),
        ("\x7f\x80\u2028\u2029", '"\x7f\x80\u2028\u2029"'),
        ("</script>", '"</script>"'),
        ("\u00e9 and e\u0301 stay apart", '"\u00e9 and e\u0301 stay apart"'),
        ("\U0001f600", '"\U0001f600"'),
    ],
)
def test_strings_are_escaped_as_rfc_8785_has_it(text: str, written: str) -> None:
    """3.2.2.2: the two-character escapes, \\u00xx for the other controls, and nothing else."""
    assert canonical(text) == written.encode()
