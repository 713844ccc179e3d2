"""Both verifiers of an export agree: with each other, on what holds, and on where it does not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger import accounts
from ledger import checkpoint as notes
from ledger.entry import canonical
from ledger.exporting.folder import write_folder
from ledger.exporting.part import Choice
from ledger.exporting.source import readme
from ledger.exporting.whole import write_whole
from ledger.merkle import leaf_hash, tree_root
from receiver.__main__ import counterfoil
from tests.ledger.exports import NAME, NEXT_KEY, POLICY, VKEY, Exported, exported
from tests.ledger.files import KEY, OTHER_KEY
from tests.ledger.house import STORY, House
from tests.ledger.verifiers import SCRIPT, VERIFIERS, Answer, load_script

Verify = Callable[..., Answer]
NEXT_VKEY = notes.verifier_key(NAME, NEXT_KEY.public_key())
OTHER_VKEY = notes.verifier_key(NAME, OTHER_KEY.public_key())


@pytest.fixture(params=VERIFIERS)
def verify(request: pytest.FixtureRequest) -> Verify:
    return VERIFIERS[request.param]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("rotated"), rotated=True)


@pytest.fixture
def folder(original: Exported, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original.folder, tmp_path / "copy"))


def said(exported: Exported) -> str:
    root = tree_root([leaf_hash(raw) for raw in exported.lines()])
    return f"OK: {len(exported.lines())} entries, root {root.hex()}"


# --- what holds ------------------------------------------------------------------------------------------------------


def test_an_export_holds(original: Exported, verify: Verify) -> None:
    assert verify(original.folder) == (said(original), None)


@pytest.mark.parametrize("stories", [0, 8])
def test_of_any_size(tmp_path: Path, stories: int, verify: Verify) -> None:
    found = exported(tmp_path, stories)
    assert verify(found.folder) == (said(found), None)


@pytest.mark.parametrize("vkey", [VKEY, NEXT_VKEY])
def test_whoever_trusts_one_key_of_the_log_can_follow_the_others(rotated: Exported, verify: Verify, vkey: str) -> None:
    assert rotated.text("keys.txt") == f"{VKEY}\n{NEXT_VKEY}\n"
    assert verify(rotated.folder, vkey) == (said(rotated), None)


@pytest.mark.parametrize("which", [0, -1])  # before the key was changed, and after
@pytest.mark.parametrize("vkey", [VKEY, NEXT_VKEY])
def test_a_part_holds_under_any_key_of_the_log(
    rotated: Exported, tmp_path: Path, verify: Verify, which: int, vkey: str
) -> None:
    entries = [json.loads(raw) for raw in rotated.lines()]
    part = rotated.again(tmp_path / "part", Choice(nth(entries, "DETECTED", which)["incident_id"]))
    answer, _ = verify(part.folder, vkey)
    root = said(rotated).split()[-1]
    count = f"{len(part.lines())} of {len(rotated.lines())}"
    assert answer == f"OK: {count} entries, each in the log with root {root}; what is left out cannot be seen"
    assert verify(part.folder, OTHER_VKEY) == ("keys.txt: the key that you trust is none of them", None)


# --- what does not ---------------------------------------------------------------------------------------------------


def test_another_key_is_believed_by_none(original: Exported, verify: Verify) -> None:
    assert verify(original.folder, OTHER_VKEY) == ("keys.txt: the key that you trust is none of them", None)


class Forged:
    """A log with other entries, signed again with the key: what its holder could write past the database's rules."""

    def __init__(self, original: Exported, entries: list[dict[str, Any]]) -> None:
        self._raws = [canonical(entry) for entry in entries]
        self._blobs = original.bytes()
        self.head = notes.Checkpoint(NAME, len(self._raws), tree_root([leaf_hash(raw) for raw in self._raws]))
        self.note = notes.sign(self.head, NAME, KEY)
        self.keys: tuple[str, ...] = (VKEY,)
        self.vouchers: Mapping[int, str] = {}
        self.readme = readme()

    def write(self, folder: Path) -> None:
        write_folder(folder, lambda place: write_whole(self, place))

    def entries(self) -> Iterator[bytes]:
        yield from self._raws

    def blob(self, digest: str) -> bytes | None:
        return self._blobs.get(f"blobs/{digest}")


Entries = list[dict[str, Any]]


def nth(entries: Entries, stage: str, number: int = 0) -> dict[str, Any]:
    return [entry for entry in entries if entry["stage"] == stage][number]


def forge(of: str, number: int = 0, /, **fields: Any) -> Callable[[Entries], int]:
    """Other values in an entry of a stage; in `body` beside what is there. Gives the entry's index."""

    def change(entries: Entries) -> int:
        entry = nth(entries, of, number)
        entry.update(fields | {"body": entry["body"] | fields.get("body", {})})
        return int(entry["index"])

    return change


def noted(entries: Entries, stage: str) -> int:
    """The first entry of a stage turned into a note."""
    return forge(stage, stage="NOTED", actor="system", settles=None)(entries)


def one_of_two(entries: Entries) -> int:
    nth(entries, "AUTHORIZED")["cites"].pop()
    return forge("AUTHORIZED")(entries)


def not_rejected(entries: Entries) -> int:
    noted(entries, "REJECTED")
    return forge("DECLINED")(entries)


def the_same_target(entries: Entries) -> int:
    """Two open incidents of one rule and key: the second one asks while the first one does."""
    body = {"rule": "errors", "key": {"service": "checkout"}}
    for number in (0, 1):
        forge("DETECTED", number, body=body)(entries)
    last = dict(entries[-1])
    asked = {"stage": "PROPOSED", "actor": "policy", "settles": None, "body": nth(entries, "PROPOSED", 1)["body"]}
    times = {"expires_at": "2026-11-23T08:20:00.000000Z", "authorize_until": "2026-11-23T08:20:00.000000Z"}
    for number in (0, 1):
        name = nth(entries, "DETECTED", number)["incident_id"]
        more = {"index": len(entries), "id": f"more:{number}", "incident_id": name}
        entries.append(last | asked | more | {"body": asked["body"] | times})
    for stage in ("RECOVERED", "CONFIRMED"):
        noted(entries, stage)
    return len(entries) - 1


def ends_with_declined(entries: Entries) -> int:
    index = forge("DECLINED")(entries)
    del entries[index + 1 :]
    return index


def second_question(entries: Entries) -> int:
    noted(entries, "DECLINED")
    noted(entries, "REJECTED")
    return forge("PROPOSED", 1)(entries)


def too_early(entries: Entries) -> int:
    noted(entries, "DECLINED")
    return forge("REJECTED", stage="EXPIRED")(entries)


def too_late(entries: Entries) -> int:
    end = nth(entries, "PROPOSED", 1)["timestamp"][:-2] + "1Z"
    forge("PROPOSED", 1, body={"expires_at": end, "authorize_until": end})(entries)
    return forge("APPROVED")(entries)


def authorized_too_late(entries: Entries) -> int:
    end = nth(entries, "APPROVED", 1)["timestamp"][:-2] + "1Z"
    forge("PROPOSED", 1, body={"expires_at": end, "authorize_until": end})(entries)
    return forge("AUTHORIZED")(entries)


def halted(entries: Entries) -> int:
    noted(entries, "DIAGNOSED")
    forge("CONSULTED", stage="HALTED", actor="engineer:rudo", incident_id=None)(entries)
    return forge("DISPATCHED")(entries)


def recovered_over_a_question(entries: Entries) -> int:
    for stage in ("REJECTED", "DECLINED", "HEARD", "PROPOSED"):
        noted(entries, stage)
    forge("CONSULTED", stage="NOTED")(entries)
    forge("DIAGNOSED", stage="RECOVERED", actor="policy", settles=nth(entries, "DETECTED")["index"])(entries)
    proposal = nth(entries, "NOTED")
    document = nth(entries, "PROPOSED")["body"]
    proposal.update(stage="PROPOSED", actor="policy", body=document)
    return forge("RECOVERED")(entries)


def another_text(entries: Entries) -> int:
    blob = nth(entries, "DIAGNOSED")["blobs"][0]
    given = {"policy_version": "1.0.0", "policy_digest": blob["digest"], "blobs": [blob | {"name": "policy"}]}
    return forge("NOTED", stage="ADOPTED", actor="operator:root", body={"name": "payments"}, **given)(entries)


LATE = "2026-11-23T09:00:00.000000Z"
FORGERIES: dict[str, Callable[[Entries], int]] = {
    "an office": forge("DETECTED", actor="claude"),
    "no name": forge("HALTED", actor="engineer:"),
    "a name": forge("DETECTED", actor="policy:me"),
    "no stage": forge("NOTED", stage="BLESSED"),
    "opened twice": forge("NOTED", stage="OPENED", actor="system"),
    "an id twice": forge("NOTED", id="open"),
    "no id": forge("NOTED", id=""),
    "settles nothing": forge("EVALUATED", settles=None),
    "settles the future": forge("EVALUATED", settles=9),
    "settles what is no obligation": forge("EVALUATED", settles=1),
    "settles in another book": forge("DETECTED", settles=2),
    "settles what was settled": forge("NOTED", stage="EVALUATED", actor="policy", incident_id=None, settles=2),
    "settles though it settles nothing": forge("NOTED", settles=31),
    "cites the future": forge("NOTED", cites=[9999]),
    "another incident": forge("DIAGNOSED", incident_id="inc-x"),
    "the time steps back": forge("NOTED", timestamp="2026-11-23T07:00:00.000000Z"),
    "detected without an incident": forge("DETECTED", incident_id=None),
    "detected twice": forge("DETECTED", 1, incident_id="inc:2"),
    "an incident that is not open": forge("CONSULTED", incident_id="inc-x"),
    "no digest": forge("PROPOSED", body={"digest": "a"}),
    "no quorum": forge("PROPOSED", body={"quorum": 0}),
    "too large a quorum": forge("PROPOSED", body={"quorum": 3}),
    "an approver twice": forge("PROPOSED", body={"quorum": 2, "approvers": ["rudo", "rudo"]}),
    "expired at once": forge("PROPOSED", body={"expires_at": "2026-11-23T08:00:00.000000Z"}),
    "authorized for too long": forge("PROPOSED", body={"authorize_until": LATE}),
    "no expiry": forge("PROPOSED", body={"expires_at": "soon"}),
    "a second question": second_question,
    "two questions of one target": the_same_target,
    "recovered over a question": recovered_over_a_question,
    "a stranger declines": forge("DECLINED", actor="engineer:mallory"),
    "declined alone": not_rejected,
    "ends with declined": ends_with_declined,
    "an answer to nothing": forge("APPROVED", cites=[0]),
    "an answer too late": too_late,
    "one of two": one_of_two,
    "authorized by another": forge("AUTHORIZED", actor="engineer:mallory"),
    "authorized too late": authorized_too_late,
    "expired too early": too_early,
    "another request": forge("DISPATCHED", body={"digest": "b" * 64}),
    "dispatched while halted": halted,
    "resumed by the same": forge("RESUMED", actor="operator:rudo"),
    "an unknown policy": forge("WATCHED", policy_digest="c" * 64),
    "a policy without its text": forge("ADOPTED", blobs=[]),
    "a version with another text": another_text,
    "a key that follows none": forge("NOTED", stage="REKEYED", actor="operator:root", body={"key": OTHER_VKEY}),
    "another ledger": forge("NOTED", ledger="other.example"),
    "another tenant": forge("NOTED", tenant_id="other"),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_what_the_holder_of_the_key_writes_must_keep_the_rules(
    original: Exported, tmp_path: Path, kind: str, verify: Verify
) -> None:
    entries = [json.loads(raw) for raw in original.lines()]
    index = FORGERIES[kind](entries)
    Forged(original, entries).write(tmp_path / "forged")
    answer, where = verify(tmp_path / "forged")
    assert where == index, answer


def test_the_forger_is_not_what_they_find(original: Exported, tmp_path: Path, verify: Verify) -> None:
    Forged(original, [json.loads(raw) for raw in original.lines()]).write(tmp_path / "forged")
    assert verify(tmp_path / "forged") == (said(original), None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"cites":[]', b'"cites":["0"]'),
        (b'"cites":[]', b'"cites":[true]'),
        (b'"settles":null', b'"settles":1.0'),
        (b'"settles":null', b'"settles":-1'),
        (b'"settles":null', b'"settles":9007199254740993'),
        (b'"decision":null', b'"decision":7'),
        (b'"body":{', b'"body":{"a":NaN,'),
        (b'"body":{', b'"body": {'),
        (b'"blobs":[]', b'"blobs":[{}]'),
        (b'"index":', b'"index":0'),
        (b'"ledger":', b'"kegder":'),
        (b'"salt":"', b'"salt":"","salt":"'),
        (b'Z"}', b'z"}'),
        (b'"2026-11-23T', b'"2026-11-31T'),
        (b'"reason":"', b'"reason":"\xff'),
        (b'"reason":"', b'"reason":"\\u0041'),
        (b'"reason":"', b'"reason":"\\ud800'),
        (b'"reason":"', b'"reason":"' + b"x" * 70_000),
        (b'"reason":"', b'"reason":' + b"[" * 5_000 + b'"'),
    ],
)
def test_an_entry_has_one_form(folder: Path, verify: Verify, old: bytes, new: bytes) -> None:
    path = folder / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if n > 3 and old in line)
    lines[at] = lines[at].replace(old, new, 1)
    path.write_bytes(b"".join(lines))
    assert verify(folder)[1] == at


def spoil_proof(text: str) -> str:
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    return "\n".join([*lines[:-1], lines[-1][:-2] + "B="]) + gap + note


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another hash", lambda text: text.replace("\n\n", "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n", 1)),
        ("one less", lambda text: "\n".join([*text.split("\n")[:3], *text.split("\n")[4:]])),
        ("other bits that count for nothing", spoil_proof),
        ("another index", lambda text: text.replace("index ", "index 1", 1)),
        ("another form", lambda text: text.replace("@v1", "@v2")),
        ("another checkpoint", lambda text: text.replace(NAME, "other.example/default", 1)),
        ("more", lambda text: f"{text}\n"),
        ("nothing", lambda text: ""),
    ],
)
def test_a_changed_proof_is_found(
    original: Exported, tmp_path: Path, verify: Verify, what: str, change: Callable[[str], str]
) -> None:
    part = original.again(tmp_path / "part", Choice("inc:2"))
    path = part.folder / "proofs/8.tlog-proof"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert verify(part.folder)[1] == 8


@pytest.mark.parametrize(
    ("edit", "index"),
    [
        (lambda part: (part / "proofs/8.tlog-proof").unlink(), 8),
        (lambda part: (part / "proofs/0.tlog-proof").write_text("x"), None),
        (lambda part: (part / f"policies/{POLICY.digest}.yml").write_text("x"), 5),
        (lambda part: (part / "entries.csv").write_text("x"), None),
        (lambda part: (part / "checkpoints").mkdir(), None),
        (lambda part: (part / "keys.txt").write_text(f"{VKEY}\n{OTHER_VKEY}\n"), None),
    ],
)
def test_a_changed_part_is_found(
    original: Exported, tmp_path: Path, verify: Verify, edit: Callable[[Path], object], index: int | None
) -> None:
    part = original.again(tmp_path / "part", Choice("inc:2"))
    edit(part.folder)
    answer, where = verify(part.folder)
    assert (answer[:2] != "OK", where) == (True, index), answer


@pytest.mark.parametrize("which", ["checkpoint", "checkpoints"])
def test_a_key_that_nobody_vouches_for_is_believed_by_none(
    rotated: Exported, tmp_path: Path, verify: Verify, which: str
) -> None:
    """The checkpoint in which the first key signs for the next is gone, or only the next one signed it."""
    folder = Path(shutil.copytree(rotated.folder, tmp_path / "copy"))
    (voucher,) = (folder / "checkpoints").iterdir()
    text = voucher.read_text(encoding="utf-8")
    assert text.count("\u2014") == 2
    if which == "checkpoint":
        voucher.write_text("".join(text.splitlines(keepends=True)[:-1]), encoding="utf-8")
    else:
        shutil.rmtree(voucher.parent)
    answer, index = verify(folder)
    assert (index, "key" in answer) == (int(voucher.name) - 1, True), answer


def test_a_link_is_no_file_of_an_export(folder: Path, tmp_path: Path, verify: Verify) -> None:
    (folder / "entries.csv").rename(tmp_path / "entries.csv")
    (folder / "entries.csv").symlink_to(tmp_path / "entries.csv")
    assert verify(folder)[0].startswith("entries.csv")


# --- the two are not one ---------------------------------------------------------------------------------------------


def test_the_script_stands_alone(original: Exported, tmp_path: Path) -> None:
    """Without the package on its path, and without any package but cryptography."""
    text = SCRIPT.read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    script = shutil.copy(SCRIPT, tmp_path)
    command = [sys.executable, "-I", script, str(original.folder), "--key", VKEY]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{said(original)}\n", "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["{folder}", "--key", "{keyfile}"], 0),
        (["{folder}", "--key", OTHER_VKEY], 1),
        (["{folder}", "--key", "nonsense"], 2),
        (["{folder}"], 2),
        (["nowhere", "--key", VKEY], 2),
    ],
)
def test_how_the_script_ends(original: Exported, tmp_path: Path, words: list[str], code: int) -> None:
    (tmp_path / "key").write_text(f"{VKEY}\n")
    given = [word.format(folder=original.folder, keyfile=tmp_path / "key") for word in words]
    command = [sys.executable, SCRIPT, *given]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr


def test_the_tables_of_the_script_are_those_of_the_books() -> None:
    script = load_script()
    assert {book: tuple(stages) for book, (_, stages) in script.BOOKS.items()} == accounts.SETTLES
    assert script.OPENS == accounts.OPENS
    posts = {stage: {who for who, stages in script.MAY_POST.items() if stage in stages} for stage in accounts.STAGES}
    assert posts == {stage: set(offices) for stage, offices in accounts.OFFICES.items()}


def test_the_script_knows_the_text_about_the_folder() -> None:
    assert hashlib.sha256(readme()).hexdigest() in load_script().README_TEXTS


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def house(tmp_path: Path) -> House:
    found = House(tmp_path / "house")
    await found.write(*STORY)
    return found


def run(*words: object) -> Result:
    return CliRunner(env={"COUNTERFOIL_CONFIG": "nowhere.yml"}).invoke(counterfoil, ["ledger", *map(str, words)])


def test_export_and_verify_by_command(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    result = house.run("export", str(folder))
    assert (result.exit_code, result.output.count("\n")) == (0, 1), result.output
    assert result.output.startswith(f"{folder}: from 6 entries, root ")
    root = result.output.split()[-1]
    result = house.run("verify", "--export", str(folder))
    assert (result.exit_code, result.output) == (0, f"OK: 6 entries, root {root}\n")
    vkey = (folder / "keys.txt").read_text().strip()
    assert run("verify", "--export", folder, "--key", vkey).output == f"OK: 6 entries, root {root}\n"
    shown = json.loads(run("verify", "--export", folder, "--key", vkey, "--json").output)
    assert shown == {"entries": 6, "size": 6, "root": root, "fault": None, "index": None}


def test_verify_says_where_a_folder_was_changed(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    house.run("export", str(folder))
    lines = folder / "entries.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"0.31", b"0.01"))
    result = house.run("verify", "--export", str(folder))
    assert (result.exit_code, result.output.startswith("FAULT: entry 4: ")) == (1, True), result.output
    result = house.run("verify", "--export", str(folder), "--json")
    assert (result.exit_code, json.loads(result.output)["index"]) == (1, 4)


def test_no_key_is_taken_from_the_folder(house: House, original: Exported, tmp_path: Path) -> None:
    house.run("export", str(tmp_path / "export"))
    result = run("verify", "--export", tmp_path / "export")
    assert (result.exit_code, "--key" in result.stderr) == (2, True)
    result = house.run("verify", "--export", str(original.folder))
    assert (result.exit_code, "test.example" in result.stderr) == (2, True)
    assert run("verify", "--export", tmp_path / "nowhere", "--key", VKEY).exit_code == 2
    assert run("verify", "--export", original.folder, "--key", "nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--incident", "inc-1"], 0, "from 6 entries"),
        (["--since", "2026-11-23", "--until", "2026-11-24"], 0, "from 6 entries"),
        (["--format", "CSV"], 0, "from 6 entries"),
        (["--since", "2026-11-24"], 2, "no entry"),
        (["--since", "2026-11-23T08:00:00"], 2, "zone"),
        (["--since", "yesterday"], 2, "neither a time"),
        (["--format", "xml"], 2, "xml"),
        (["--incident", "inc-1", "--format", "beancount"], 2, "whole log"),
        (["--tenant", "nobody"], 2, "no tenant"),
    ],
)
def test_the_options_of_export(house: House, tmp_path: Path, words: list[str], code: int, says: str) -> None:
    result = house.run("export", str(tmp_path / "export"), *words)
    assert (result.exit_code, says in result.output) == (code, True), result.output
    assert (tmp_path / "export").exists() is (code == 0)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = house.run("export", str(tmp_path / "file" / "export"))
    assert (result.exit_code, result.stderr.count("\n"), "[Errno" in result.stderr) == (2, 1, False)
    assert result.stderr.endswith("; make room there, or name another folder\n")
    there = house.run("export", str(tmp_path / "file"))
    assert (there.exit_code, "is there already" in there.stderr) == (2, True)


async def test_a_damaged_log_gives_no_export_and_is_no_wrong_call(house: House, tmp_path: Path) -> None:
    house.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")
    result = house.run("export", str(tmp_path / "export"))
    assert (result.exit_code, "counterfoil ledger verify" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("empty", "empty: no folder that `counterfoil ledger export` wrote: it has no checkpoint"),
        ("file", "file: no such folder"),
    ],
)
def test_what_is_no_export_is_said_in_one_line(house: House, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    result = house.run("verify", "--export", str(tmp_path / name))
    assert (result.exit_code, result.stderr) == (2, f"counterfoil: {tmp_path}/{says}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("rotate-key", "--by", "", "--reason", "x"),
        ("accept-restored", "--by", "", "--reason", "x"),
        ("seal", "next.db", "--origin", "next", "--by", "no name", "--reason", "x"),
    ],
)
def test_whoever_changes_the_ledger_has_a_name_and_a_reason(house: House, words: tuple[str, ...]) -> None:
    result = house.run(*words)
    assert (result.exit_code, "is no name: letters, digits and _ . @ -, as in --by root" in result.output) == (2, True)
    silent = house.run("rotate-key", "--by", "root", "--reason", " ")
    assert (silent.exit_code, "say why" in silent.output) == (2, True)
