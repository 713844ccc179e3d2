"""A person's PIN for actions of high risk: kept as a slow salted hash alone, so that whoever reads it has to guess."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from itertools import pairwise

DIGITS = re.compile(r"[0-9]{6,12}")
_WORK, _BLOCK, _LANES = 2**15, 8, 1  # of scrypt: about 0.1 s and 32 MiB a guess
_MEMORY = 64 * 2**20
_HASH = re.compile(r"scrypt\$32768\$8\$1\$(?P<salt>[A-Za-z0-9+/]{22}==)\$(?P<key>[A-Za-z0-9+/]{43}=)")


def weakness(pin: str) -> str | None:
    """Why `pin` is none, or could be guessed in five tries; None where it will do."""
    if DIGITS.fullmatch(pin) is None:
        return "a PIN is 6 to 12 digits"
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(pin)}
    if len(steps) == 1 and steps <= {0, 1, 9}:
        return "a PIN is not one digit again and again, and no row of digits"
    if pin[: len(pin) // 2] == pin[len(pin) // 2 :]:
        return "a PIN is not the same half twice"
    return None


def hashed(pin: str) -> str:
    """What is kept of `pin`: "scrypt$32768$8$1$SALT$KEY", another one each time."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_WORK}${_BLOCK}${_LANES}${_text(salt)}${_text(_key(pin, salt))}"


def is_hash(text: str) -> bool:
    """Whether `hashed` may have made it."""
    return _HASH.fullmatch(text) is not None


def fits(kept: str, pin: str) -> bool:
    """Whether `kept` was made of `pin`; takes as long where it was not. Blocks: for a thread."""
    found = _HASH.fullmatch(kept)
    if found is None:
        return False
    return hmac.compare_digest(_key(pin, base64.b64decode(found["salt"])), base64.b64decode(found["key"]))


def masked(text: str) -> str:
    """`text` without any run of digits that may be a PIN, mistyped ones among them."""
    return re.sub(r"[0-9]{4,}", "(digits)", text)


def _key(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=_WORK, r=_BLOCK, p=_LANES, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
