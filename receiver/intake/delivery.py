"""What became of a message of ours, as the carrier tells it: SENT, DELIVERED, READ, UNDELIVERED, never a step back."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from ledger.entry import Draft, Entry
from ledger.journal import Conflict, Journal, Refused
from receiver.authorization.carrier_codes import words_of
from receiver.authorization.twilio_http import outcome_of_code
from receiver.authorization.voice import UNANSWERED

CARRIER = "carrier:whatsapp"
MACHINE = "answering_machine"
_LOG = logging.getLogger("counterfoil.replies")


async def book_status(journal: Journal, tenant: str, addressed: Entry, sid: str, status: str, error_code: str) -> None:
    """Book what `status` implies and is not booked yet. Callbacks come twice and out of order: no step back."""
    index = addressed.index
    await _once(journal, tenant, _about(addressed, f"sent:{index}:{sid}", "SENT", {"message": index, "sid": sid}))
    if status in ("delivered", "read"):
        delivered = {"outcome": "delivered", "detail": status, "sid": sid}
        draft = _about(addressed, f"deliver:{index}", "DELIVERED", delivered, settles=True)
        standing = await _once(journal, tenant, draft)
        if status == "read":
            await _once(journal, tenant, _about(addressed, f"read:{index}", "READ", {"message": index, "sid": sid}))
        elif standing is not None and standing.stage == "UNDELIVERED":
            text = f"the message to {addressed.body.get('person')} was delivered after all, as {sid}"
            await _once(journal, tenant, _late(addressed, f"late:{index}:{status}", text))
    elif status in ("undelivered", "failed", "canceled"):
        number = int(error_code) if re.fullmatch(r"[0-9]{1,9}", error_code) else None
        outcome = outcome_of_code(number)[0]
        detail = f"{status}, {words_of(number)}" if number is not None else status
        body = {"outcome": outcome, "detail": detail, "sid": sid}
        await _once(journal, tenant, _about(addressed, f"deliver:{index}", "UNDELIVERED", body, settles=True))


async def book_call(journal: Journal, tenant: str, addressed: Entry, sid: str, status: str) -> None:
    """Book what became of a call. It counts as delivered once a person has heard it, so ending says nothing more."""
    index = addressed.index
    await _once(journal, tenant, _about(addressed, f"sent:{index}:{sid}", "SENT", {"message": index, "sid": sid}))
    if status in UNANSWERED:
        body = {"outcome": UNANSWERED[status], "detail": f"the call: {status}", "sid": sid}
        await _once(journal, tenant, _about(addressed, f"deliver:{index}", "UNDELIVERED", body, settles=True))


async def book_picked_up(journal: Journal, tenant: str, addressed: Entry, sid: str, *, machine: bool) -> None:
    """Book who picked up: a person, to whom it is said now, or a machine."""
    index = addressed.index
    await _once(journal, tenant, _about(addressed, f"sent:{index}:{sid}", "SENT", {"message": index, "sid": sid}))
    body = {"outcome": MACHINE if machine else "delivered", "detail": "picked up", "sid": sid}
    stage = "UNDELIVERED" if machine else "DELIVERED"
    await _once(journal, tenant, _about(addressed, f"deliver:{index}", stage, body, settles=True))


async def _once(journal: Journal, tenant: str, draft: Draft) -> Entry | None:
    """Post `draft` unless an entry of its id stands, or the ledger says that it is too late; what stands then."""
    standing = await journal.find(tenant, draft.id)
    if standing is not None:
        return standing
    try:
        await journal.post(tenant, [draft])
    except Conflict:
        return await journal.find(tenant, draft.id)  # another callback, or the governor, was first
    except Refused as error:
        _LOG.warning("%s came too late or out of place: %s", draft.id, error)
    return None


def _about(addressed: Entry, entry_id: str, stage: str, body: Mapping[str, object], *, settles: bool = False) -> Draft:
    return Draft(
        id=entry_id,
        stage=stage,
        actor=f"carrier:{addressed.body.get('channel', 'whatsapp')}",
        incident_id=addressed.incident_id,
        decision=str(body["outcome"]) if "outcome" in body else None,
        reason=f"to {addressed.body.get('person')}",
        settles=addressed.index if settles else None,
        cites=() if settles else (addressed.index,),
        body=body,
    )


def _late(addressed: Entry, entry_id: str, text: str) -> Draft:
    return Draft(
        id=entry_id,
        stage="NOTED",
        actor="system",
        incident_id=addressed.incident_id,
        reason=text,
        cites=(addressed.index,),
        body={"kind": "note", "text": text},
    )
