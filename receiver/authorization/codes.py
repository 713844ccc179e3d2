"""What stands for a person's decision on the wire: button tokens, text codes, and how an answer is read. Pure.

A token names one delivery and a code one (person, proposal) pair. Both are HMACs under a secret of our own, so neither
has to be stored and neither can be guessed; whether the answer counts is decided elsewhere, by policy.
"""

from __future__ import annotations

import base64
import hmac
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

ALPHABET = "34679ACDEFGHJKMNPQRTUVWXY"  # nothing that is taken for another on a small screen: no 0O 1IL 2Z 5S 8B
CODE_LENGTH = 4
DIGITS = 6  # of a code that is keyed in during a call
OPT_OUT = ("stop", "stopall", "cancel", "end", "quit", "revoke", "optout", "unsubscribe")  # the carrier's own words
# What asks for words alone, and decides nothing, may be said in the language of the person. What decides, halts,
# resumes, hands over or silences has one word, so that a sentence about it is never taken for it.
TRANSLATED: Mapping[str, str] = {
    **dict.fromkeys(("estado", "état", "etat"), "status"),
    **dict.fromkeys(("porquê", "porque", "pourquoi"), "why"),
    **dict.fromkeys(("detalhe", "detalhes", "détail", "détails", "details"), "detail"),
    **dict.fromkeys(("ajuda", "aide"), "help"),
    "nota": "note",
}

_PAYLOAD = re.compile(r"(approve|reject|onit)\.([A-Za-z0-9-]{1,40})")
_TEXT_CODE = re.compile(r"(a|approve|r|reject)[\s:.,-]+([0-9a-z]{4})(?:[\s:.,-]+([0-9]{4,12}))?[\s.!]*")
_PIN = re.compile(r"(?:pin[\s:.,-]*)?([0-9]{4,12})[\s.!]*")
_JOIN = re.compile(r"join[\s:.,-]+([0-9a-z]{4})[\s.!]*")
_ABOUT = re.compile(r"(why|detail|note|ran|didnot|writeoff)\b(?:[\s:#]+((?:inc-)?[0-9a-f]{4,20})\b)?(?:[\s:,.-].*)?")
_STATUS = re.compile(r"status[\s:#]+([1-9][0-9]{0,2})[\s.!]*")
_SILENCE = re.compile(
    r"silence\b(?:[\s:#]+((?:inc-)?[0-9a-f]{4,20})\b)?(?:[\s:,]+(?:for\s+)?((?:\d{1,4}[dhm])+))?[\s.!]*"
)
_MESSAGE_ID = re.compile(r"(?P<tenant>[^/?#&\s]{1,100})-(?P<index>0|[1-9][0-9]{0,14})")
_FORM = re.compile(r"([0-9a-f]{16})\.[0-9a-f]{32}")
_TOKEN = re.compile(r"(?P<index>0|[1-9][0-9]{0,14})-[a-z2-7]{24}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said, before anyone judged it.

    verb: approve, reject, onit, halt, resume, status, why, detail, note, run, ran, didnot, writeoff, silence,
    handover, join, stop, start, help, pin, other. token: the delivery that a button belongs to. code: what was typed
    after A, R or JOIN, in capitals. At most one of token and code is set. about: the incident that was named after
    WHY, DETAIL, NOTE, RAN, DIDNOT, WRITEOFF or SILENCE, in small letters, as it was typed; or the page, after STATUS.
    span: for how long there shall be silence, "2h30m". pin: digits that may be a PIN, after a code or alone; they go
    no further than to be compared.
    """

    verb: str
    token: str | None = None
    code: str | None = None
    about: str | None = None
    span: str | None = None
    pin: str | None = field(default=None, repr=False)


def code(secret: bytes, tenant: str, proposal_index: int, person: str) -> str:
    """Four characters of ALPHABET for this person and proposal; another person's code says nothing about it."""
    return _letters(_mac(secret, "code", tenant, str(proposal_index), person))


def digits(secret: bytes, tenant: str, proposal_index: int, person: str) -> str:
    """The code of this person and proposal as it is keyed in during a call: DIGITS digits."""
    number = int.from_bytes(_mac(secret, "digits", tenant, str(proposal_index), person)[:16], "big")
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def join_code(secret: bytes, tenant: str, person: str, nonce: str) -> str:
    """Four characters of ALPHABET by which `person` shows that a phone is theirs. nonce: of this one enrolment."""
    return _letters(_mac(secret, "join", tenant, person, nonce))


def token(secret: bytes, message_id: str) -> str:
    """The opaque id of the delivery `message_id` ("TENANT-INDEX"): its index, and a MAC over the whole id.

    At most 40 characters of letters, digits and "-". Raises ValueError for an id of another shape.
    """
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise ValueError(f"message id {message_id!r} is not TENANT-INDEX")
    return f"{match['index']}-{_short_mac(secret, message_id)}"


def delivery_of(secret: bytes, tenant: str, given: str) -> int | None:
    """The index of the delivery in `tenant` that the token `given` was made for, or None if it was not made by us."""
    match = _TOKEN.fullmatch(given)
    if match is None:
        return None
    index = int(match["index"])
    return index if same(token(secret, f"{tenant}-{index}"), given) else None


def page(secret: bytes, message_id: str) -> str:
    """What stands in the link of the delivery `message_id`: as `token`, and no button's. Raises ValueError."""
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise ValueError(f"message id {message_id!r} is not TENANT-INDEX")
    return f"{match['index']}-{_short_mac(secret, message_id, 'page')}"


def page_of(secret: bytes, tenant: str, given: str) -> int | None:
    """The index of the delivery in `tenant` whose link holds `given`, or None if it was not made by us."""
    match = _TOKEN.fullmatch(given)
    if match is None:
        return None
    index = int(match["index"])
    return index if hmac.compare_digest(page(secret, f"{tenant}-{index}"), given) else None


def form(secret: bytes, page_token: str, nonce: str) -> str:
    """A form of the page `page_token` that counts once. nonce: 16 hex digits, another for each form."""
    return f"{nonce}.{_mac(secret, 'form', page_token, nonce).hex()[:32]}"


def is_form(secret: bytes, page_token: str, given: str) -> bool:
    match = _FORM.fullmatch(given)
    return match is not None and hmac.compare_digest(form(secret, page_token, match[1]), given)


def split_message_id(message_id: str) -> tuple[str, int] | None:
    """Tenant and ledger index of a message id of ours, or None."""
    match = _MESSAGE_ID.fullmatch(message_id)
    return (match["tenant"], int(match["index"])) if match else None


def same(expected: str, given: str) -> bool:
    """Equality in a time that does not depend on where they differ. Case does not count in what a person types."""
    return hmac.compare_digest(expected.upper().encode(), given.strip().upper().encode("utf-8", "replace"))


def address_hmac(key: bytes, address: str) -> str:
    """How an address stands in the ledger: comparable, not readable. 64 hex digits."""
    return _mac(key, "address", address.strip().lower()).hex()


def parse_answer(body: str, button_payload: str | None) -> Answer:
    """Read an answer. What is not exactly one of the known forms is `other`: a bare "yes", "ok" or "approve" included.

    A tap is read by its payload alone; the visible text of a button decides nothing.
    """
    if button_payload is not None:
        tap = _PAYLOAD.fullmatch(button_payload)
        return Answer(tap[1], token=tap[2]) if tap else Answer("other")
    text = _in_english(_plain(body))
    typed = _TEXT_CODE.fullmatch(text)
    if typed:
        return Answer("approve" if typed[1][0] == "a" else "reject", code=typed[2].upper(), pin=typed[3])
    digits = _PIN.fullmatch(text)
    if digits:
        return Answer("pin", pin=digits[1])
    joining = _JOIN.fullmatch(text)
    if joining:
        return Answer("join", code=joining[1].upper())
    asked = _ABOUT.fullmatch(text)
    if asked:
        return Answer(asked[1], about=asked[2])
    paged = _STATUS.fullmatch(text)
    if paged:
        return Answer("status", about=paged[1])
    silenced = _SILENCE.fullmatch(text)
    if silenced:
        return Answer("silence", about=silenced[1], span=silenced[2])
    if text.startswith(("run ", "run:")):
        return Answer("run")
    word = text.rstrip(" .!")
    if word in OPT_OUT:
        return Answer("stop")
    # HALT is the safe direction, so a reason may follow it; RESUME must stand alone.
    if word == "halt" or text.startswith(("halt ", "halt:", "halt,")):
        return Answer("halt")
    first = word.split(" ")[0].rstrip(":,")
    if first in ("handover", "silence"):
        return Answer(first)
    return Answer(word) if word in ("resume", "status", "start", "help") else Answer("other")


def _in_english(text: str) -> str:
    """`text` with the word by which it begins in English, where it asks for words alone and is one of TRANSLATED."""
    first = re.match(r"\w+", text)
    return text if first is None else TRANSLATED.get(first[0], first[0]) + text[first.end() :]


def _letters(mac: bytes) -> str:
    number = int.from_bytes(mac[:16], "big")
    letters = []
    for _ in range(CODE_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[digit])
    return "".join(letters)


def _plain(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text[:400])
    return " ".join("".join(c for c in normal if unicodedata.category(c) != "Cf").split()).lower()


def _mac(secret: bytes, *fields: str) -> bytes:
    # Each field carries its length, so that no two lists of fields make the same message.
    message = b"".join(len(data).to_bytes(4, "big") + data for data in (f.encode("utf-8", "replace") for f in fields))
    return hmac.digest(secret, message, "sha256")


def _short_mac(secret: bytes, message_id: str, purpose: str = "token") -> str:
    return base64.b32encode(_mac(secret, purpose, message_id)[:15]).decode("ascii").lower()
