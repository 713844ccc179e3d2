"""The longer form of what was explained of an incident, in English, for who asks WHY or DETAIL."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.authorization.wording import shorten
from receiver.governor.wording import diagnosis_line, why_none
from receiver.incident.moved import moved_first
from receiver.incident.states import Incident

MOVED_SHOWN = 5
LEFT_OUT_SHOWN = 2
LONG_UNITS = 480


def long_form(incident: Incident) -> str:
    """The claims and the readings that they cite, and what would show that it is wrong; or why there is nothing."""
    diagnosis = incident.diagnosis
    if diagnosis is None:
        return _undiagnosed(incident)
    body = diagnosis.body
    claims = [claim for claim in body.get("claims", ()) if isinstance(claim, Mapping)]
    cited = list(dict.fromkeys(ref for claim in claims for ref in claim.get("refs", ())))
    known = {item["ref"]: item for item in (*diagnosis.case.get("items", ()), *body.get("asked", ()))}
    readings = [f"{ref} {known[ref]['what']} {known[ref].get('now', '')}".strip() for ref in cited if ref in known]
    parts = [
        f"Claude: {diagnosis_line(incident)}",
        *(f"{claim['text']} [{', '.join(claim.get('refs', ()))}]" for claim in claims),
        f"Read: {'; '.join(readings)}" if readings else "",
        f"Wrong if: {body['falsified_by']}" if body.get("falsified_by") else "",
    ]
    return shorten(". ".join(part.rstrip(". ") for part in parts if part) + ".", LONG_UNITS)


def _undiagnosed(incident: Incident) -> str:
    last = incident.consultations[-1] if incident.consultations else None
    case = last.case if last is not None else {}
    left_out = [str(text) for text in (case.get("cut") or ())[:LEFT_OUT_SHOWN]]
    parts = [
        "; ".join(filter(None, (why_none(incident), moved_first(case, incident.opened_at, MOVED_SHOWN)))),
        f"Not looked at: {'; '.join(left_out)}" if left_out else "",
    ]
    return shorten(". ".join(part for part in parts if part) + ".", LONG_UNITS)
