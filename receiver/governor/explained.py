"""The longer form of what was explained of an incident, for who asks WHY or DETAIL: what was recorded, in a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.authorization.wording import shorten
from receiver.governor.phrases import ENGLISH, phrase, recorded, said
from receiver.governor.wording import diagnosis_line, moved, why_none
from receiver.incident.states import Incident

MOVED_SHOWN = 5
LEFT_OUT_SHOWN = 2
LONG_UNITS = 480


def long_form(incident: Incident, language: str = ENGLISH) -> str:
    """The claims and the readings that they cite, and what would show that it is wrong; or why there is nothing."""
    diagnosis = incident.diagnosis
    if diagnosis is None:
        return _undiagnosed(incident, language)
    body = diagnosis.body
    claims = [claim for claim in body.get("claims", ()) if isinstance(claim, Mapping)]
    cited = list(dict.fromkeys(ref for claim in claims for ref in claim.get("refs", ())))
    known = {item["ref"]: item for item in (*diagnosis.case.get("items", ()), *body.get("asked", ()))}
    readings = [f"{ref} {known[ref]['what']} {known[ref].get('now', '')}".strip() for ref in cited if ref in known]
    parts = [
        phrase(language, "claude says", text=diagnosis_line(incident, language)),
        *(f"{claim['text']} [{', '.join(claim.get('refs', ()))}]" for claim in claims),
        phrase(language, "read", readings="; ".join(readings)) if readings else "",
        phrase(language, "wrong if", text=body["falsified_by"]) if body.get("falsified_by") else "",
    ]
    return shorten(". ".join(part.rstrip(". ") for part in parts if part) + ".", LONG_UNITS)


def _undiagnosed(incident: Incident, language: str) -> str:
    last = incident.consultations[-1] if incident.consultations else None
    case = last.case if last is not None else {}
    left_out = _left_out(case, language)[:LEFT_OUT_SHOWN]
    parts = [
        why_none(incident, language) + moved(incident, language, MOVED_SHOWN),
        phrase(language, "not looked at", text="; ".join(left_out)) if left_out else "",
    ]
    return shorten(". ".join(part for part in parts if part) + ".", LONG_UNITS)


def _left_out(case: Mapping[str, Any], language: str) -> list[str]:
    """What was not looked at; as it was recorded, where no more is known of it."""
    cut = [str(text) for text in case.get("cut") or ()]
    known = [*(case.get("left_out") or ()), *([None] * len(cut))]
    return [said(language, recorded(made, text)) for made, text in zip(known, cut, strict=False)]
