"""Whether a webhook was signed by Twilio with a token of ours."""

from __future__ import annotations

from collections.abc import Sequence

from multidict import MultiDict


def is_signed(tokens: Sequence[str], url: str, params: MultiDict[str] | str, signature: str | None) -> bool:
    """True if `signature` is that of `url` and `params` under one of `tokens`; anything odd is False, never an error.

    url: the address as Twilio was told it, never one made of the Host header.
    params: the form, or the text of a body that is no form (Twilio then signs its hash within the URL).
    https://www.twilio.com/docs/usage/security#validating-requests
    """
    from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

    if not signature:
        return False
    valid = False
    for token in tokens:
        try:
            valid = bool(RequestValidator(token).validate(url, params, signature)) or valid
        except (ValueError, TypeError, AttributeError, LookupError):
            # The validator indexes and encodes whatever it is given; what it cannot read was not signed by Twilio.
            continue
    return valid
