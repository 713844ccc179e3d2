"""What incidents are called."""

from __future__ import annotations

import hmac
import re

_NUMBER = re.compile(r"\d{9}")


def incident_name(secret: bytes, seed: str) -> str:
    """ "inc-" and ten hex digits, of which never nine in a row are a number: a phone makes something else of one."""
    digits = hmac.digest(secret, seed.encode(), "sha256").hex()[:10]
    return incident_name(secret, f"{seed}:again") if _NUMBER.search(digits) else f"inc-{digits}"
