#!/usr/bin/env python3
"""Verify an export of a Counterfoil ledger, offline, with the standard library and `cryptography` alone.

    verify_export.py FOLDER --key VKEY

FOLDER is what `counterfoil ledger export` wrote. VKEY is the log's verifier key, NAME+ID+KEY, which you have from
another place than the folder; or a file that holds it. Prints OK and the root, or the first fault and the entry where
it is. Ends with 0 if everything holds, 1 on a fault, 2 where the call is wrong.

Everything is decided here again, from the format as ledger/README.md describes it: bytes, hashes, tree, tiles,
signature, blobs, policies, times, the rules of the books, and the files that were made from the entries. This file
shares no code with the package, so that a mistake of the one is not a mistake of the other.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from itertools import pairwise

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# --- the books, as ledger/README.md has them --------------------------------------------------------------------------

# book: (the stage that opens an obligation in it, the stages that settle one)
BOOKS = {
    "alerts": ("RECEIVED", ["EVALUATED"]),
    "watches": ("WATCHED", ["DETECTED", "CLEARED"]),
    "incidents": ("DETECTED", ["RECOVERED", "CLOSED"]),
    "diagnoses": ("CONSULTED", ["DIAGNOSED", "UNDIAGNOSED"]),
    "answers": ("HEARD", ["APPROVED", "DECLINED", "REFUSED", "HEEDED"]),
    "proposals": ("PROPOSED", ["AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN"]),
    "authorizations": ("AUTHORIZED", ["DISPATCHED", "VOIDED"]),
    "executions": ("DISPATCHED", ["EXECUTED", "FAILED", "UNRESOLVED"]),
    "suspense": ("UNRESOLVED", ["EXECUTED", "FAILED", "WRITTEN_OFF"]),
    "verifications": ("EXECUTED", ["CONFIRMED", "UNCONFIRMED", "WAIVED"]),
    "messages": ("ADDRESSED", ["DELIVERED", "UNDELIVERED"]),
    "halts": ("HALTED", ["RESUMED"]),
}
OPENS = {opener: book for book, (opener, _) in BOOKS.items()}
MAY_BE_CARRIED = {"ADOPTED", "NOTED", "WATCHED", "DETECTED", "HALTED"}
SETTLING = {stage for _, stages in BOOKS.values() for stage in stages}
# who: what they may post
OFFICES = {
    "system": "OPENED ADOPTED CONSULTED UNDIAGNOSED REFUSED HEEDED FAILED UNRESOLVED ADDRESSED UNDELIVERED NOTED"
    " REGRESSED",
    "operator": "ADOPTED CLOSED EXECUTED FAILED WRITTEN_OFF HALTED RESUMED NOTED ERASED REKEYED",
    "engineer": "ADOPTED CLOSED APPROVED DECLINED ACKNOWLEDGED AUTHORIZED EXECUTED FAILED WRITTEN_OFF HALTED RESUMED"
    " NOTED",
    "alertmanager": "RECEIVED",
    "policy": "EVALUATED WATCHED CLEARED LOOKED DETECTED RECOVERED REFUSED HEEDED PROPOSED REJECTED EXPIRED WITHDRAWN"
    " CLOSED DISPATCHED VOIDED CONFIRMED UNCONFIRMED WAIVED ESCALATED REMINDED",
    "claude": "DIAGNOSED",
    "carrier": "HEARD SENT DELIVERED UNDELIVERED READ",
    "executor": "EXECUTED FAILED NOTED",
}
MAY_POST = {who: set(stages.split()) for who, stages in OFFICES.items()}
NAMED = ("engineer", "operator", "executor", "carrier")  # their actors have a name after a colon, others have none

TEXT, MAYBE, NUMBER, LIST, OBJECT = "text", "text or null", "an integer", "a list", "an object"
FIELDS = {
    "ledger": TEXT, "tenant_id": TEXT, "index": NUMBER, "id": TEXT, "timestamp": TEXT, "incident_id": MAYBE,
    "stage": TEXT, "actor": TEXT, "decision": MAYBE, "reason": TEXT, "confidence": MAYBE, "policy_version": MAYBE,
    "policy_digest": MAYBE, "settles": NUMBER + " or null", "cites": LIST, "body": OBJECT, "blobs": LIST, "salt": TEXT,
}  # fmt: skip
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_BYTES = 65_535
# The SHA-256 of each text that README.txt has had.
README_TEXTS = {
    "cf27d9dc4a594d6a5f704b7a54962de6a2edd2e995c45f9f7c4105181353d74e",
    "c2b84c19580b180c5aadf52813fb4743db3c9fe186046a3afce8bffa625bfde7",
}


class Fault(Exception):
    """Something does not hold. index: the entry where it is, or None where that cannot be said."""

    def __init__(self, index, what):
        super().__init__(what if index is None else f"entry {index}: {what}")
        self.index = index


class WrongCall(Exception):
    """Nothing was verified: the key is none, or the folder is not there."""


# --- keys, checkpoints, hashes ----------------------------------------------------------------------------------------


def decode64(text):
    """The bytes that are written so in base64. Other texts mean the same bytes, and are not what was written."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"{text[:100]!r} is not base64 as it is written")
    return data


class Key:
    """A verifier key: NAME+ID+KEY (https://c2sp.org/signed-note)."""

    def __init__(self, text):
        try:
            self.text = text
            self.name, identifier, encoded = text.split("+", 2)
            data = decode64(encoded)
            self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
            if data[0] != 1 or self.id.hex() != identifier:
                raise ValueError("the id is not that of the key")
            self.public = Ed25519PublicKey.from_public_bytes(data[1:])
        except (ValueError, IndexError) as error:
            raise ValueError(f"not a verifier key (NAME+ID+KEY): {text[:100]!r}: {error}") from error


def read_keys(text, trusted):
    """The keys of keys.txt, the oldest first, all of one log; the trusted one is among them."""
    try:
        keys = [Key(line) for line in text.decode().removesuffix("\n").split("\n")]
    except ValueError as error:
        raise Fault(None, f"keys.txt: {error}") from error
    if not text.endswith(b"\n") or {key.name for key in keys} != {trusted.name}:
        raise Fault(None, "keys.txt has another form, or a key of another log")
    if trusted.text not in [key.text for key in keys]:
        raise Fault(None, "keys.txt: the key that you trust is none of them")
    return keys


class Checkpoint:
    """A checkpoint (https://c2sp.org/tlog-checkpoint) in the one form in which it is written.

    Each of its signatures is by one of `keys` and holds; the newest key comes first. signers: the texts of those keys.
    """

    FORM = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n\n((?:— [^\n ]+ [A-Za-z0-9+/=]+\n)+)")

    def __init__(self, path, note, keys):
        try:
            found = self.FORM.fullmatch(note.decode())
            if found is None:
                raise ValueError("it has another form")
            origin, size, root, lines = found.groups()
            if origin != keys[0].name:
                raise ValueError(f"it is of {origin}, and the keys are of {keys[0].name}")
            self.size, self.root, self.signers = int(size), decode64(root), []
            left = list(keys)
            for line in lines.split("\n")[:-1]:
                _, name, encoded = line.split(" ")
                signature = decode64(encoded)
                while left and (left[-1].name, left[-1].id) != (name, signature[:4]):
                    left.pop()
                if not left:
                    raise ValueError("it has another signature than those of the log's keys, the newest first")
                self.signers.append(left[-1].text)
                left.pop().public.verify(signature[4:], note[: note.index(b"\n\n") + 1])
        except InvalidSignature:
            raise Fault(None, f"{path}: the signature does not hold") from None
        except ValueError as error:
            raise Fault(None, f"{path}: {error}") from error


def hash_entry(data):
    return hashlib.sha256(b"\x00" + data).digest()


def hash_pair(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def hash_tree(hashes):
    """The root over the hashes of a level (RFC 9162, 2.1.1), from the bottom up; an odd one goes up as it is."""
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else []
        hashes = [hash_pair(*hashes[i : i + 2]) for i in range(0, len(hashes) - 1, 2)] + odd
    return hashes[0] if hashes else hashlib.sha256(b"").digest()


def root_from_proof(leaf, index, size, steps):
    """The root to which an audit path leads, or None where it is not one of that tree: RFC 9162, 2.1.3.2."""
    last, steps = size - 1, list(steps)
    while last:
        if index % 2 or index < last:  # it has a sibling on this level
            if not steps:
                return None
            leaf = hash_pair(steps.pop(0), leaf) if index % 2 else hash_pair(leaf, steps.pop(0))
        index, last = index // 2, last // 2
    return None if steps else leaf


# --- an entry ---------------------------------------------------------------------------------------------------------


def whole_number(value):
    return type(value) is int and abs(value) < 2**53


def fits(value, kind):
    if value is None:
        return kind.endswith("or null")
    types = {"text": str, "a list": list, "an object": dict}
    name = kind.removesuffix(" or null")
    return whole_number(value) if name == NUMBER else isinstance(value, types[name])


def in_order(pairs):
    """An object whose keys stand once, and in the order of RFC 8785: by their units in UTF-16."""
    keys = [key for key, _ in pairs]
    units = keys if all(map(str.isascii, keys)) else [key.encode("utf-16-be", "surrogatepass") for key in keys]
    if any(left >= right for left, right in pairwise(units)):
        raise ValueError("keys are not in order, or twice")
    return dict(pairs)


def small(digits):
    number = int(digits) if len(digits) < 20 else 2**53
    if abs(number) >= 2**53:
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def never(text):
    raise ValueError(f"{text} is a number that may not stand in an entry")


DECODER = json.JSONDecoder(object_pairs_hook=in_order, parse_int=small, parse_float=never, parse_constant=never)
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # of such values these are the bytes of RFC 8785


def read_entry(raw, index, name):
    """The fields of an entry's bytes, each of its type, in the one form that they may have."""
    try:
        entry = DECODER.decode(raw.decode())
        if not isinstance(entry, dict) or entry.keys() != FIELDS.keys():
            raise ValueError("it has other fields")
        wrong = [f"{name} is not {kind}" for name, kind in FIELDS.items() if not fits(entry[name], kind)]
        if wrong:
            raise ValueError(wrong[0])
        if len(raw) > MAX_BYTES or ENCODER.encode(entry).encode() != raw:
            raise ValueError("its bytes are not canonical, or too many")
        if not TIME.fullmatch(entry["timestamp"]):
            raise ValueError("its time has another form")
        datetime.fromisoformat(entry["timestamp"][:-1])
        for blob in entry["blobs"]:
            if not isinstance(blob, dict) or blob.keys() != {"name", "digest", "length"}:
                raise ValueError("a blob has other fields")
            if not (fits(blob["name"], TEXT) and fits(blob["digest"], TEXT) and fits(blob["length"], NUMBER)):
                raise ValueError("a blob has a field of another type")
            if not DIGEST.fullmatch(blob["digest"]):
                raise ValueError("a blob has no digest")
        if not re.fullmatch("[0-9a-f]{32}", entry["salt"]):
            raise ValueError("it has no salt")
    except (ValueError, RecursionError) as error:
        raise Fault(index, f"it is not an entry: {error}") from error
    if index is not None and entry["index"] != index:
        raise Fault(index, f"it says that it is entry {entry['index']}")
    if f"{entry['ledger']}/{entry['tenant_id']}" != name:
        raise Fault(index, f"it is of {entry['ledger']}/{entry['tenant_id']}, and the key is of {name}")
    return entry


# --- the rules of the books -------------------------------------------------------------------------------------------


class Open:
    """An obligation that nothing has settled."""

    def __init__(self, entry):
        self.index, self.stage = entry["index"], entry["stage"]
        self.incident, self.person = entry["incident_id"], entry["actor"].partition(":")[2]
        self.body = entry["body"] if self.stage == "PROPOSED" else {}
        self.approvals, self.declined = {}, False  # of a proposal: by the index of APPROVED, who


class Ledger:
    """Posts every entry again. It remembers what is open, and of the rest no more than ids and names."""

    def __init__(self):
        self.open, self.of_incident = {}, defaultdict(dict)
        self.ids, self.detected, self.policies, self.versions = set(), set(), set(), {}
        self.opened, self.settled = Counter(), Counter()
        self.keys = []  # (index, verifier key)
        self.targets = {}  # open incidents, and what each is about
        self.before = {"timestamp": "", "stage": ""}
        self.listed, self.carried = {}, {}  # what OPENED says that it carries forward; what stands so behind it
        self.first_post = True

    def post(self, entry):
        """The books in which it settles and opens an obligation, or None. Raises Fault where a rule forbids it."""
        self._together(entry)
        if entry["index"] and "carried" not in entry["body"]:
            self._carries()
        try:
            self._form(entry)
            self._carried(entry)
            target, book = self._settlement(entry)
            if entry["stage"] in self.RULES:
                self.RULES[entry["stage"]](self, entry, target)
            self._policy(entry)
        except ValueError as error:
            raise Fault(entry["index"], f"{entry['stage']} breaks a rule of the books: {error}") from error
        if target is not None:
            del self.open[target.index], self.of_incident[target.incident][target.index]
            if not self.of_incident[target.incident]:
                del self.of_incident[target.incident]
            self.settled[book, entry["stage"]] += 1
            if book == "incidents":
                del self.targets[target.incident]
        opens = OPENS.get(entry["stage"])
        if opens is not None:
            found = Open(entry)
            self.open[found.index] = self.of_incident[found.incident][found.index] = found
            self.opened[opens] += 1
            if entry["stage"] == "AUTHORIZED":
                found.body = target.body
        self.before = entry
        return book, opens

    def end(self):
        self._together({"stage": None, "settles": None})
        self._carries()

    def _carries(self):
        """The first post is over: what a sealed log handed on stands in it, just as OPENED lists it."""
        books = defaultdict(list)
        for book, index in self.carried.values():
            books[book].append(index)
        if self.first_post and books != self.listed:
            raise Fault(0, "what it carries forward from a sealed log is not what stands behind it")
        self.first_post = False

    def _carried(self, entry):
        body, opens = entry["body"], OPENS.get(entry["stage"])
        if entry["index"] == 0:
            self.listed = body.get("carries", {})
            self._need(not self.listed or isinstance(body.get("continues"), str), "it carries forward from no log")
        elif "carried" in body:
            self._need(self.first_post, "it says that it was carried forward, and does not stand first")
            known = isinstance(body["carried"], dict) and entry["stage"] in MAY_BE_CARRIED
            self._need(known, "it cannot be carried forward")
            self.carried.pop(entry["settles"], None)
            if opens is not None:
                self.carried[entry["index"]] = opens, body["carried"].get("index")

    def _together(self, entry):
        """DECLINED comes with the REJECTED of its proposal: that is the next entry."""
        rejected = entry["stage"] == "REJECTED" and [entry["settles"]] == self.before.get("cites", [])[:1]
        if self.before["stage"] == "DECLINED" and not rejected:
            raise Fault(self.before["index"], "the entry after it is not the REJECTED of its proposal")

    def _form(self, entry):
        n, stage, actor = entry["index"], entry["stage"], entry["actor"]
        who, colon, name = actor.partition(":")
        identity = hashlib.sha256(entry["id"].encode()).digest()[:16]
        self._need(entry["id"] != "" and identity not in self.ids, "an id stands once")
        self.ids.add(identity)
        self._need(entry["timestamp"] >= self.before["timestamp"], "its time is before that of the entry before it")
        self._need((n == 0) == (stage == "OPENED"), "OPENED is entry 0, and only that")
        self._need(stage in MAY_POST.get(who, ()), f"{actor} may not post it")
        self._need(bool(name) if who in NAMED else not colon, f"{actor} has no name, or none of its own")
        self._need(all(whole_number(c) and 0 <= c < n for c in entry["cites"]), "it cites no earlier entry")

    def _settlement(self, entry):
        settles, stage = entry["settles"], entry["stage"]
        if settles is None:
            self._need(stage not in SETTLING, "it settles nothing")
            return None, None
        target = self.open.get(settles)
        self._need(target is not None, f"{settles} is no obligation that is open")
        book = OPENS[target.stage]
        self._need(stage in BOOKS[book][1], f"it cannot settle {target.stage}")
        self._need(target.incident in (None, entry["incident_id"]), f"{settles} is of {target.incident}")
        return target, book

    def _policy(self, entry):
        if entry["stage"] == "ADOPTED":
            version = json.dumps([entry["body"].get("name"), entry["policy_version"]])
            known = self.versions.setdefault(version, entry["policy_digest"])
            self._need(known == entry["policy_digest"], "this version was adopted with another text")
            texts = [blob["digest"] for blob in entry["blobs"] if blob["name"] == "policy"]
            self._need(texts == [entry["policy_digest"]], "the text of the policy is not among its blobs")
            self.policies.add(entry["policy_digest"])
        elif entry["policy_digest"] is not None:
            self._need(entry["policy_digest"] in self.policies, "its policy was never adopted")

    def _open_stages(self, entry):
        return {other.stage for other in self.of_incident.get(entry["incident_id"], {}).values()}

    def _incident_is_open(self, entry):
        known = entry["incident_id"] is not None and "DETECTED" in self._open_stages(entry)
        self._need(known, "its incident is not open")

    def _detected(self, entry, target):
        self._need(entry["incident_id"] is not None and entry["incident_id"] not in self.detected, "of a new incident")
        self.detected.add(entry["incident_id"])
        about = [entry["body"].get("rule"), entry["body"].get("key")]
        self.targets[entry["incident_id"]] = ENCODER.encode(about if None not in about else entry["incident_id"])

    def _recovered(self, entry, target):
        self._need(not self._open_stages(entry) & {"PROPOSED", "AUTHORIZED"}, "a question or a permission is open")

    def _consulted(self, entry, target):
        self._incident_is_open(entry)

    def _proposed(self, entry, target):
        self._incident_is_open(entry)
        beside = self._open_stages(entry) & {"PROPOSED", "AUTHORIZED", "DISPATCHED", "UNRESOLVED"}
        self._need(not beside, f"beside an open {', '.join(sorted(beside))}")
        about = self.targets[entry["incident_id"]]
        for other in [
            name for name, target in self.targets.items() if target == about and name != entry["incident_id"]
        ]:
            live = {found.stage for found in self.of_incident[other].values()} & {"PROPOSED", "AUTHORIZED"}
            self._need(not live, f"{other} asks about the same")
        body = entry["body"]
        self._need(isinstance(body.get("digest"), str) and len(body["digest"]) == 64, "it has no digest")
        expires, until = body.get("expires_at"), body.get("authorize_until")
        times = all(isinstance(time, str) and TIME.fullmatch(time) for time in (expires, until))
        self._need(times and entry["timestamp"] < expires <= until, "it has no expiry")
        span = datetime.fromisoformat(until[:19]) - datetime.fromisoformat(expires[:19])
        self._need(span <= timedelta(minutes=2), "it may be authorized too long after its expiry")
        names, quorum = body.get("approvers"), body.get("quorum")
        self._need(isinstance(names, list) and whole_number(quorum), "it has no quorum")
        self._need(1 <= quorum <= len({json.dumps(name) for name in names}), "its quorum cannot be met")

    def _answer(self, entry):
        proposal = self.open.get(entry["cites"][0]) if entry["cites"] else None
        found = proposal is not None and proposal.stage == "PROPOSED" and proposal.incident == entry["incident_id"]
        self._need(found, "it answers no open question")
        who, _, name = entry["actor"].partition(":")
        self._need(who == "engineer" and name in proposal.body["approvers"], f"{entry['actor']} was not asked")
        self._need(entry["timestamp"] < proposal.body["expires_at"], "it comes after the question expired")
        return proposal

    def _approved(self, entry, target):
        self._answer(entry).approvals[entry["index"]] = entry["actor"]

    def _declined(self, entry, target):
        self._answer(entry).declined = True

    def _authorized(self, entry, target):
        self._incident_is_open(entry)
        people = {target.approvals[cited] for cited in entry["cites"] if cited in target.approvals}
        self._need(len(people) >= target.body["quorum"], f"{len(people)} of {target.body['quorum']} approved")
        self._need(entry["actor"] in people, f"{entry['actor']} did not approve")
        self._need(not target.declined, "it was declined")
        self._need(entry["timestamp"] <= target.body["authorize_until"], "it comes too late")

    def _expired(self, entry, target):
        self._need(entry["timestamp"] >= target.body["expires_at"], "it comes too early")
        met = len(set(target.approvals.values())) >= target.body["quorum"]
        self._need(not met or entry["timestamp"] > target.body["authorize_until"], "the quorum was met in time")

    def _dispatched(self, entry, target):
        self._incident_is_open(entry)
        self._need(entry["body"].get("digest") == target.body["digest"], "it is not what was proposed")
        self._need(entry["timestamp"] <= target.body["authorize_until"], "it comes too late")
        self._need(self.opened["halts"] == self.settled["halts", "RESUMED"], "while halted")
        self._need(not self._open_stages(entry) & {"DISPATCHED", "UNRESOLVED"}, "beside an open one")

    def _opened(self, entry, target):
        self._need(isinstance(entry["body"].get("key"), str), "it names no key")
        self.keys.append((entry["index"], entry["body"]["key"]))

    def _rekeyed(self, entry, target):
        self._need(entry["body"].get("retires") == self.keys[-1][1], "it retires another key than the one in force")
        self._need(entry["body"].get("key") not in [text for _, text in self.keys], "its key was in force before")
        self._opened(entry, target)

    def _resumed(self, entry, target):
        self._need(entry["actor"].partition(":")[2] != target.person, "it takes another person than the one who halted")

    RULES = {  # noqa: RUF012 - never changed
        "DETECTED": _detected, "RECOVERED": _recovered, "CLOSED": _recovered, "CONSULTED": _consulted,
        "PROPOSED": _proposed, "APPROVED": _approved, "DECLINED": _declined, "AUTHORIZED": _authorized,
        "OPENED": _opened, "REKEYED": _rekeyed, "EXPIRED": _expired, "DISPATCHED": _dispatched, "RESUMED": _resumed,
    }  # fmt: skip

    @staticmethod
    def _need(holds, rule):
        if not holds:
            raise ValueError(rule)


# --- the files for people ---------------------------------------------------------------------------------------------

UNSEEN = ("\0\x1f", "\x7f\x9f", "\u061c\u061c", "\u200e\u200f", "\u2028\u202e", "\u2066\u2069", "\ufeff\ufeff")
BLANKED = {code: " " for first, last in UNSEEN for code in range(ord(first), ord(last) + 1)}
FORMULA = "=+-@＝＋－＠"
CSV_NAMES = (
    "index timestamp stage actor incident_id decision reason confidence opens settles cites policy_version"
    " policy_digest id blobs leaf_hash"
)
CSV_HEAD = b"\xef\xbb\xbf" + ",".join(f'"{name}"' for name in CSV_NAMES.split()).encode() + b"\r\n"


SPECIAL = re.compile(f'["{"".join(map(chr, BLANKED))};]|^ *[{re.escape(FORMULA)}]')


def csv_cell(text):
    if SPECIAL.search(text) is None:
        return f'"{text}"'
    parts = text.translate(BLANKED).split(";")
    for i, part in enumerate(parts):
        content = part.lstrip(" ")
        if content[:1] and content[0] in FORMULA:
            parts[i] = part[: len(part) - len(content)] + "'" + content
    return '"' + ";".join(parts).replace('"', '""') + '"'


def csv_row(entry, leaf):
    made = {
        "opens": OPENS.get(entry["stage"], ""),
        "cites": " ".join(str(index) for index in entry["cites"]),
        "blobs": " ".join(blob["name"] for blob in entry["blobs"]),
        "leaf_hash": leaf.hex(),
    }
    cells = []
    for name in CSV_NAMES.split():
        value = made.get(name, entry.get(name))
        cells.append(str(value) if type(value) is int else "" if name == "settles" else csv_cell(value or ""))
    return ",".join(cells).encode() + b"\r\n"


def bean_text(text):
    return '"' + text.translate(BLANKED).replace("\\", "\\\\").replace('"', '\\"') + '"'


def bean_accounts():
    """What an account is of, book, stage, and its name: an asset for what is open, income for what was opened."""
    for book, (_, outcomes) in BOOKS.items():
        yield "open", book, None, f"Assets:{book.capitalize()}"
        yield "opened", book, None, f"Income:{book.capitalize()}"
        for stage in outcomes:
            words = "-".join(word.capitalize() for word in stage.split("_"))
            yield "settled", book, stage, f"Expenses:{book.capitalize()}:{words}"


ACCOUNTS = {(kind, book, stage): account for kind, book, stage, account in bean_accounts()}


def bean_head(name, day):
    unit = {"open": 'OBLIGATION "STRICT"', "opened": "COUNT", "settled": "COUNT"}
    rows = [f"; The books of {name.translate(BLANKED)}", f'option "title" {bean_text(name)}']
    rows += ['option "operating_currency" "COUNT"']
    rows += [f"{day} open {account} {unit[kind]}" for (kind, _, _), account in ACCOUNTS.items()]
    rows += ["pushtag #counterfoil"]
    return "\n".join([*rows, ""]).encode()


def bean_entry(entry, settles, opens):
    if settles is None and opens is None:
        return b""
    day, _, clock = entry["timestamp"].partition("T")
    links = f"^{entry['index']}" if settles is None else f"^{entry['index']} ^{entry['settles']}"
    words = bean_text(f"{entry['stage']} {entry['reason']}".rstrip())
    rows = ["", f"{day} * {bean_text(entry['actor'])} {words} {links}", f'  time: "{clock}"']
    if entry["incident_id"] is not None:
        rows.append(f"  incident: {bean_text(entry['incident_id'])}")
    if settles is not None:
        rows.append(f'  {ACCOUNTS["open", settles, None]} -1 OBLIGATION {{1 COUNT, "{entry["settles"]}"}}')
        rows.append(f"  {ACCOUNTS['settled', settles, entry['stage']]} 1 COUNT")
    if opens is not None:
        rows.append(f'  {ACCOUNTS["open", opens, None]} 1 OBLIGATION {{1 COUNT, "{entry["index"]}"}}')
        rows.append(f"  {ACCOUNTS['opened', opens, None]} -1 COUNT")
    return "\n".join([*rows, ""]).encode()


def bean_tail(ledger, day):
    after = date.fromisoformat(day)
    after = after + timedelta(days=1) if after < date.max else after
    rows = [""]
    for (kind, book, stage), account in ACCOUNTS.items():
        if kind == "open":
            rows.append(f"{after} balance {account} {still_open(ledger, book)} OBLIGATION")
        else:
            number = -ledger.opened[book] if kind == "opened" else ledger.settled[book, stage]
            rows.append(f"{after} balance {account} {number} COUNT")
    rows.append("poptag #counterfoil")
    return "\n".join([*rows, ""]).encode()


def still_open(ledger, book):
    return sum(other.stage == BOOKS[book][0] for other in ledger.open.values())


def balance_files(ledger, name, size, root):
    """balance.txt and balance.json. That the books balance was seen when they were posted; the figures say it again."""
    settled = ledger.settled
    executed = settled["executions", "EXECUTED"] + settled["suspense", "EXECUTED"]
    across = [
        ("proposals AUTHORIZED", settled["proposals", "AUTHORIZED"], "authorizations"),
        ("authorizations DISPATCHED", settled["authorizations", "DISPATCHED"], "executions"),
        ("EXECUTED", executed, "verifications"),
        ("executions UNRESOLVED", settled["executions", "UNRESOLVED"], "suspense"),
    ]
    rows = [f"The trial balance of {name.translate(BLANKED)}", f"{size} entries", f"root {root.hex()}", ""]
    rows.append("book".ljust(28) + "opened".rjust(12) + "settled".rjust(12) + "open".rjust(12))
    books = {}
    for book, (_, outcomes) in BOOKS.items():
        by_stage = {stage: settled[book, stage] for stage in outcomes}
        left, done, opened = still_open(ledger, book), sum(by_stage.values()), ledger.opened[book]
        books[book] = {"opened": opened, "settled": by_stage, "open": left}
        rows.append(book.ljust(28) + f"{opened:12}{done:12}{left:12}")
        rows += ["  " + stage.ljust(38) + f"{number:12}" for stage, number in by_stage.items()]
    rows += ["", "across books"]
    rows += [f"{left} {number} = {ledger.opened[right]} {right}" for left, number, right in across]
    rows += ["", "The books balance.", ""]
    figures = {"origin": name, "size": size, "root": root.hex(), "balanced": True, "books": books}
    figures["across"] = [
        {"left": left, "left_figure": number, "right": right, "right_figure": ledger.opened[right]}
        for left, number, right in across
    ]
    return "\n".join(rows).encode(), (json.dumps(figures, indent=2) + "\n").encode()


# --- the folder -------------------------------------------------------------------------------------------------------


class Folder:
    """The files of the export: each is read from its beginning to its end, and compared with what it must hold."""

    def __init__(self, path):
        self.path, self.known, self.files, self.missing = path, set(), {}, None

    def _file(self, name, first):
        """Opened once. One that is missing is told last, as the rest may say more about what happened."""
        if name not in self.known:
            self.known.add(name)
            target = os.path.join(self.path, *name.split("/"))
            if os.path.isfile(target) and not os.path.islink(target):
                self.files[name] = open(target, "rb")  # noqa: SIM115 - closed by `end`
            elif self.missing is None:
                self.missing = Fault(first, f"{name} is missing")
        return self.files.get(name)

    def follows(self, name, expected, index, first=None):
        """The next bytes of a file are these, which are of the entry `index`; its first entry is `first`."""
        file = self._file(name, index if first is None else first)
        if file is not None and file.read(len(expected)) != expected:
            raise Fault(index, f"{name} has something else there")

    def line(self, name, index):
        """The next line without its end, or None after the last one."""
        file = self._file(name, None)
        if file is None:
            raise self.missing
        line = file.readline(MAX_BYTES + 2)
        if line and not line.endswith(b"\n"):
            raise Fault(index, f"{name} is cut off, or has a line that is too long")
        return line[:-1] if line else None

    def end(self, name, index):
        """Nothing more is in a file."""
        file = self.files.pop(name, None)
        if file is not None:
            more = file.read(1)
            file.close()
            if more:
                raise Fault(index, f"{name} goes on where it should end")

    def is_just(self, name, expected, index=None):
        self.follows(name, expected, index)
        self.end(name, index)

    def whole(self, name, index=None, limit=-1):
        """All bytes of a file; of one that is missing nothing, and that is told later."""
        file = self._file(name, index)
        if file is None:
            return None
        data = file.read(limit)
        self.end(name, index)
        return data

    def under_its_digest(self, name, digest, index, length=None):
        """A file has that SHA-256. It may have been seen before."""
        if name in self.known and name not in self.files:
            return
        found, count = hashlib.sha256(), 0
        file = self._file(name, index)
        if file is None:
            return
        while data := file.read(1 << 20):
            found.update(data)
            count += len(data)
        self.end(name, index)
        if found.hexdigest() != digest or length not in (None, count):
            raise Fault(index, f"{name} is not what its digest says")

    def finish(self):
        """Nothing is missing, and nothing is here that does not belong here."""
        if self.missing is not None:
            raise self.missing
        for place, folders, files in os.walk(self.path):
            here = os.path.relpath(place, self.path)
            names = [os.path.normpath(os.path.join(here, name)).replace(os.sep, "/") for name in files]
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            strange = sorted({*names} - self.known) + links + ([] if files or folders else [here])
            if strange:
                raise Fault(None, f"{strange[0]} does not belong to the export")

    def close(self):
        for file in self.files.values():
            file.close()


def tile(level, number, count):
    """The path of a tile or bundle of a level that has `count` hashes (https://c2sp.org/tlog-tiles)."""
    digits = f"{number:03}" if number < 1000 else f"{number:0{-(-len(str(number)) // 3) * 3}}"
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    width = min(256, count - number * 256)
    return f"tile/{level}/{path}" + ("" if width == 256 else f".p/{width}")


class Tree:
    """The tiles of a log of `size` entries, compared as the entries come."""

    def __init__(self, folder, size):
        self.folder, self.size, self.levels = folder, size, []

    def add(self, raw, leaf, index):
        name = tile("entries", index // 256, self.size)
        self.folder.follows(name, len(raw).to_bytes(2, "big") + raw, index, index // 256 * 256)
        if index % 256 == 255 or index + 1 == self.size:
            self.folder.end(name, index + 1)
        self._hash(0, leaf, index)

    def _hash(self, level, value, number):
        """The hash of that number on that level. Each full tile is one hash of the level above."""
        if level == len(self.levels):
            self.levels.append([])
        count, below = self.size // 256**level, 256**level
        name = tile(level, number // 256, count)
        self.folder.follows(name, value, number * below, number // 256 * 256 * below)
        self.levels[level].append(value)
        if number % 256 == 255 or number + 1 == count:
            self.folder.end(name, (number + 1) * below)
        if number % 256 == 255:
            full, self.levels[level] = self.levels[level], []
            self._hash(level + 1, hash_tree(full), number // 256)

    def root(self):
        """A tile that is not full is the right edge: what stands on a lower level is to the right of what is above."""
        perfect = []
        for hashes in reversed(self.levels):
            while hashes:
                length = 1 << (len(hashes).bit_length() - 1)
                perfect.append(hash_tree(hashes[:length]))
                hashes = hashes[length:]
        root = perfect.pop() if perfect else hash_tree([])
        while perfect:
            root = hash_pair(perfect.pop(), root)
        return root


def check_blobs(folder, entry):
    for blob in entry["blobs"]:
        folder.under_its_digest(f"blobs/{blob['digest']}", blob["digest"], entry["index"], blob["length"])


def check_policy(folder, entry):
    digest = entry["policy_digest"]
    if not DIGEST.fullmatch(digest):
        raise Fault(entry["index"], "its policy has no digest")
    folder.under_its_digest(f"policies/{digest}.yml", digest, entry["index"])


def read_vouchers(folder, keys, head):
    """By its size, each checkpoint in which a key signs for the next."""
    place = os.path.join(folder.path, "checkpoints")
    names = os.listdir(place) if os.path.isdir(place) else []
    found = {}
    for size in sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]{0,15}", name)):
        note = folder.whole(f"checkpoints/{size}", limit=MAX_BYTES)
        if note is not None:
            found[size] = Checkpoint(f"checkpoints/{size}", note, keys)
            if found[size].size != size or size > head.size:
                raise Fault(None, f"checkpoints/{size} is over another number of entries, or over too many")
    return found


def check_keys(named, keys, vouchers, head):
    """The keys are those that the entries name; each signs for the next, and checkpoints are by the one in force.

    named: (index, key) as the entries say.
    """
    if [text for _, text in named] != [key.text for key in keys]:
        raise Fault(None, "keys.txt has other keys than the entries name")
    used = {size: [] for size in vouchers}
    for (_, old), (index, _) in pairwise(named):
        size = min((size for size in vouchers if size > index), default=None)
        if size is None or old not in vouchers[size].signers:
            raise Fault(index, "no checkpoint says that the key before it signs for the key that it names")
        used[size].append(index)
    for size, signed in [*vouchers.items(), (head.size, head)]:
        if signed is not head and not used[size]:
            raise Fault(None, f"checkpoints/{size} is of no use")
        in_force = [text for index, text in named if index < size][-1]
        if in_force not in signed.signers:
            raise Fault(None, f"the checkpoint over {size} entries is not signed by the key in force there")


def verify_whole(folder, keys, head, tell):
    """A folder with the whole log."""
    size, name, vouchers = head.size, keys[0].name, read_vouchers(folder, keys, head)
    tree, ledger, entry = Tree(folder, size), Ledger(), None
    folder.follows("entries.csv", CSV_HEAD, None)
    for index in range(size):
        raw = folder.line("entries.jsonl", index)
        if raw is None:
            raise Fault(index, f"it is missing: {size} entries were signed")
        entry, leaf = read_entry(raw, index, name), hash_entry(raw)
        tree.add(raw, leaf, index)
        books = ledger.post(entry)
        folder.follows("entries.csv", csv_row(entry, leaf), index)
        if index == 0:
            folder.follows("books.beancount", bean_head(name, entry["timestamp"][:10]), None)
        folder.follows("books.beancount", bean_entry(entry, *books), index)
        check_blobs(folder, entry)
        if entry["stage"] == "ADOPTED":
            check_policy(folder, entry)
        if index + 1 in vouchers and tree.root() != vouchers[index + 1].root:
            raise Fault(index, f"the root after it differs from the one in checkpoints/{index + 1}")
        tell(index + 1, size)
    folder.end("entries.jsonl", size)
    if entry is None or tree.root() != head.root:
        raise Fault(None, "the root over the entries is not the signed one")
    ledger.end()
    check_keys(ledger.keys, keys, vouchers, head)
    folder.follows("books.beancount", bean_tail(ledger, entry["timestamp"][:10]), None)
    folder.end("books.beancount", None)
    folder.end("entries.csv", size)
    table, figures = balance_files(ledger, name, size, head.root)
    folder.is_just("balance.txt", table)
    folder.is_just("balance.json", figures)
    return f"OK: {size} entries, root {head.root.hex()}"


class Proof:
    """A proof of one entry (https://c2sp.org/tlog-proof). Raises ValueError where it has another form.

    Its `extra` is the entry's bytes, and below them a proof in base64 of each entry that named a new key.
    """

    def __init__(self, text):
        head, _, self.note = text.partition(b"\n\n")
        lines = head.decode().split("\n")
        form = re.fullmatch(r"c2sp\.org/tlog-proof@v1 extra (\S+) index (0|[1-9][0-9]{0,15})", " ".join(lines[:3]))
        if form is None:
            raise ValueError("it is no proof, or has another form")
        self.raw, *rotations = decode64(form[1]).split(b"\n")
        self.rotations = [decode64(text.decode()) for text in rotations]
        self.index, self.steps = int(form[2]), [decode64(line) for line in lines[3:]]

    def leads_to(self, head):
        """The path leads from the entry to the root of the checkpoint."""
        return self.index < head.size and head.root == root_from_proof(
            hash_entry(self.raw), self.index, head.size, self.steps
        )


class Proofs:
    """The proofs of a folder: all under one checkpoint, with the same proofs of new keys."""

    def __init__(self, folder, keys, head, note):
        self.folder, self.keys, self.head, self.note, self.rotations = folder, keys, head, note, None

    def check(self, index, raw):
        name = f"proofs/{index}.tlog-proof"
        text = self.folder.whole(name, index)
        if text is None:
            return
        try:
            proof = Proof(text)
            if (proof.index, proof.raw, proof.note) != (index, raw, self.note):
                raise ValueError("it is of another entry, or under another checkpoint")
            if not proof.leads_to(self.head):
                raise ValueError("it does not lead from the entry to the signed root")
            if self.rotations is None:
                self._check_keys(proof.rotations)
                self.rotations = proof.rotations
            if proof.rotations != self.rotations:
                raise ValueError("it has other proofs of new keys than the one before it")
        except ValueError as error:
            raise Fault(index, f"{name}: {error}") from error

    def _check_keys(self, rotations):
        """Each key signs for the next, and the last one signs the checkpoint."""
        if len(rotations) != len(self.keys) - 1 or self.keys[-1].text not in self.head.signers:
            raise Fault(None, "keys.txt has other keys than the proofs name")
        for text, old, new in zip(rotations, self.keys, self.keys[1:], strict=False):
            step = Proof(text)
            head = Checkpoint("a proof of a new key", step.note, self.keys)
            entry = read_entry(step.raw, step.index, old.name)
            if entry["stage"] != "REKEYED" or not step.leads_to(head) or old.text not in head.signers:
                raise ValueError("a proof of a new key does not hold")
            if (entry["body"].get("retires"), entry["body"].get("key")) != (old.text, new.text):
                raise Fault(None, "keys.txt has other keys than the proofs name")


def verify_part(folder, keys, head, note, tell):
    """A folder with some entries, each with its proof. What it leaves out cannot be seen from it."""
    proofs, count, before = Proofs(folder, keys, head, note), 0, None
    folder.follows("entries.csv", CSV_HEAD, None)
    while (raw := folder.line("entries.jsonl", None)) is not None:
        entry, leaf = read_entry(raw, None, keys[0].name), hash_entry(raw)
        index = entry["index"]
        if before is not None and (index, entry["timestamp"]) <= (before["index"], before["timestamp"]):
            raise Fault(index, f"it stands after entry {before['index']}")
        if index >= head.size:
            raise Fault(index, f"it is under no checkpoint: {head.size} entries were signed")
        proofs.check(index, raw)
        folder.follows("entries.csv", csv_row(entry, leaf), index)
        check_blobs(folder, entry)
        if entry["policy_digest"] is not None:
            check_policy(folder, entry)
        before, count = entry, count + 1
        tell(count, None)
    folder.end("entries.jsonl", None)
    folder.end("entries.csv", None)
    if not count:
        raise Fault(None, "there is no entry")
    if count == head.size:
        return f"OK: {count} entries, root {head.root.hex()}"
    return (
        f"OK: {count} of {head.size} entries, each in the log with root {head.root.hex()}; "
        "what is left out cannot be seen"
    )


def verify(path, vkey, tell=lambda done, size: None):
    """Verify the export in the folder `path` under the key: the line that says so. Raises Fault and WrongCall."""
    try:
        trusted = Key(vkey.strip())
    except ValueError as error:
        raise WrongCall(str(error)) from error
    if not os.path.isdir(path):
        raise WrongCall(f"{path}: no such folder")
    folder = Folder(path)
    try:
        note, keys = folder.whole("checkpoint", limit=MAX_BYTES), folder.whole("keys.txt", limit=MAX_BYTES)
        if note is None or keys is None:
            raise Fault(None, "no checkpoint or keys.txt: this is no export, or one of a form that cannot be verified")
        keys = read_keys(keys, trusted)
        head = Checkpoint("checkpoint", note, keys)
        readme = folder.whole("README.txt", limit=MAX_BYTES)
        if readme is not None and hashlib.sha256(readme).hexdigest() not in README_TEXTS:
            raise Fault(None, "README.txt is not a text that we know")
        if os.path.isdir(os.path.join(path, "proofs")):
            said = verify_part(folder, keys, head, note, tell)
        else:
            said = verify_whole(folder, keys, head, tell)
        folder.finish()
    finally:
        folder.close()
    return said


def on_a_terminal(done, size):
    if done % 10_000 == 0 and sys.stderr.isatty():
        sys.stderr.write(f"\r{done:,} of {size:,} entries" if size else f"\r{done:,} entries")


def main():
    parser = argparse.ArgumentParser(description="Verify an export of a Counterfoil ledger, offline.")
    parser.add_argument("folder", help="what `counterfoil ledger export` wrote")
    parser.add_argument("--key", required=True, help="the verifier key NAME+ID+KEY, or a file that holds it")
    given = parser.parse_args()
    try:
        vkey = given.key
        if os.path.isfile(vkey):
            with open(vkey, encoding="utf-8") as file:
                vkey = file.read()
        print(verify(given.folder, vkey, on_a_terminal))
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    except (WrongCall, OSError, UnicodeDecodeError) as error:
        print(f"verify_export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
