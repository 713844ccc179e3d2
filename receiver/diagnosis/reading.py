"""What a message of Claude's comes to: the checks, in the order in which each makes the next one safe. Pure."""

from __future__ import annotations

from typing import Any

from receiver.diagnosis.citations import BadAnswer, check, read_answer
from receiver.diagnosis.dialogue import Dialogue
from receiver.diagnosis.text import clean, storable
from receiver.papers import Diagnosis, NoDiagnosis

STORED_CHARACTERS_MAX = 200_000
_TRUNCATED = {
    "max_tokens": "the answer did not fit in the tokens that were allowed",
    "model_context_window_exceeded": "the evidence and the answer did not fit in the model's window",
}


def stop_reason(message: Any) -> str:
    return str(getattr(message, "stop_reason", None))


def read_reply(message: Any, talk: Dialogue, prompt: str) -> Diagnosis | NoDiagnosis:
    """The last message of a dialogue, with every claim checked; its duration is not known here."""
    stopped = stop_reason(message)
    if stopped == "refusal":
        category = getattr(getattr(message, "stop_details", None), "category", None)
        return NoDiagnosis("refusal", f"Claude declined to answer ({category or 'no reason given'})")
    if stopped in _TRUNCATED:
        return NoDiagnosis("truncated", _TRUNCATED[stopped])
    if stopped == "tool_use" and talk.calls:
        return NoDiagnosis(
            "bad_answer", f"Claude kept asking to look something up, {talk.calls} times, and did not answer"
        )
    if stopped not in ("end_turn", "stop_sequence"):
        return NoDiagnosis("bad_answer", f"the answer stopped for {stopped}")
    text = "".join(texts_of(message))
    if not text:
        return NoDiagnosis("bad_answer", "the answer holds no text")
    try:
        answer = read_answer(text, talk.shown.actions)
    except BadAnswer as error:
        return NoDiagnosis("bad_answer", str(error))
    checked = check(answer, talk.exhibits, talk.shown.document)
    if checked is None:
        return NoDiagnosis("no_claims", f"{len(answer.claims)} claims were made, and none stands in the evidence")
    return Diagnosis(
        summary=checked.summary,
        likely_cause=checked.likely_cause,
        claims=checked.claims,
        recommended_action=checked.recommended_action,
        confidence=checked.confidence,
        falsified_by=checked.falsified_by,
        dropped_claims=checked.dropped,
        model=clean(str(getattr(message, "model", "")), 100),
        request_id=clean(str(getattr(message, "_request_id", None) or getattr(message, "id", "")), 100),
        usage=talk.usage,
        duration_seconds=0.0,
        prompt=prompt,
        answer=storable(text, STORED_CHARACTERS_MAX),
        asked=talk.asked,
        redacted=dict(talk.redactor.counts),
    )


def texts_of(message: Any) -> list[str]:
    """Real text alone: thinking may come first, and an unknown block looks like text with None in it."""
    content = getattr(message, "content", None)
    blocks = content if isinstance(content, list) else []
    texts = [getattr(block, "text", None) for block in blocks if getattr(block, "type", None) == "text"]
    return [text for text in texts if isinstance(text, str)]
