"""The pinned keys of `executor serve`: what a proof under one of them shows."""

from __future__ import annotations

from collections.abc import Sequence

from ledger import checkpoint as notes
from ledger import proofs
from receiver.execution.authorized import NotProved, Shown, Verify
from receiver.execution.runner_config import RunnerConfigError


def verifier(keys: Sequence[str]) -> Verify:
    """Checks a proof with whichever of `keys` is of its log. Raises RunnerConfigError where one is no key."""
    try:
        named = [(notes.parse_verifier_key(key)[0], key) for key in keys]
    except notes.BadKey as error:
        raise RunnerConfigError(f"proof.keys: {error}: `counterfoil ledger checkpoint` prints it") from error

    def verify(text: str) -> Shown:
        try:
            origin = proofs.parse(text).note.partition("\n")[0]
            mine = [key for name, key in named if name == origin]
            if not mine:
                raise NotProved("the proof is of a ledger whose key is not pinned here")
            return _shown(_first_that_holds(text, mine))
        except proofs.BadProof as error:
            raise NotProved(f"the proof does not hold: {error}"[:300]) from error

    return verify


def _first_that_holds(text: str, keys: Sequence[str]) -> proofs.Proved:
    """While a key is changed two of one log are pinned."""
    *others, last = keys
    for key in others:
        try:
            return proofs.verify(text, key)
        except proofs.BadProof:
            continue
    return proofs.verify(text, last)


def _shown(proved: proofs.Proved) -> Shown:
    entry = proved.entry
    digest, webhook_id = entry.body.get("digest"), entry.body.get("webhook_id")
    if not isinstance(digest, str) or not isinstance(webhook_id, str):
        raise NotProved("the entry names no request: it was written by an older version")
    return Shown(entry.tenant_id, entry.stage, entry.decision or "", entry.actor, entry.timestamp, digest, webhook_id)
