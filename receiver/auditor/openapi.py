"""The service's HTTP interface for programs: one OpenAPI 3.1 document. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.accounts import STAGES
from receiver.auditor.questions import FORMS, INDEX_MAX, NAME_CHARACTERS_MAX, WORDS
from receiver.incident.states import IncidentState
from receiver.incident.times import STEPS

Json = dict[str, Any]
LIMIT_MAX = 1000
TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0, "maximum": INDEX_MAX}
TIME: Json = {"type": "string", "format": "date-time"}
NAME: Json = {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX}


def one_of(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def shape(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties]}


LINE = shape(index=WHOLE, at=TIME, stage=TEXT, actor=TEXT, text=TEXT)
VERDICT = shape(
    index=WHOLE,
    at=TIME,
    reason=TEXT,
    readings=many(shape(name=TEXT, value=TEXT, compared=TEXT, holds=or_null({"type": "boolean"}))),
    looks=WHOLE,
)
BLOB = shape(name=TEXT, digest=TEXT, length=WHOLE)
FIELDS_OF_AN_INCIDENT: dict[str, Json] = {
    "incident_id": TEXT,
    "state": {"enum": [state.value for state in IncidentState]},
    **dict.fromkeys(("title", "summary", "severity", "rule"), TEXT),
    "opened_at": TIME,
    "ended_at": or_null(TIME),
    "reason": TEXT,
    "policy_version": TEXT,
    "continues": or_null(TEXT),
    "carried_from": or_null(WHOLE),
}
SCHEMAS: Mapping[str, Json] = {
    "Error": shape(error=shape(code=TEXT, message=TEXT)),
    "Entry": shape(
        ledger=TEXT,
        tenant_id=TEXT,
        index=WHOLE,
        id=TEXT,
        timestamp=TIME,
        incident_id=or_null(TEXT),
        stage={"enum": [*STAGES]},
        actor=TEXT,
        decision=or_null(TEXT),
        reason=TEXT,
        confidence=or_null({"type": "number"}),
        policy_version=or_null(TEXT),
        policy_digest=or_null(TEXT),
        settles=or_null(WHOLE),
        cites=many(WHOLE),
        body={"type": "object"},
        blobs=many(BLOB),
        salt=TEXT,
    ),
    "Incident": shape(**FIELDS_OF_AN_INCIDENT),
    "IncidentWithTimeline": shape(**FIELDS_OF_AN_INCIDENT, timeline=many(one_of("Entry"))),
    "Incidents": shape(incidents=many(one_of("Incident")), next=or_null(WHOLE)),
    "Verdicts": shape(
        verdicts=many(
            shape(
                index=WHOLE,
                at=TIME,
                stage=TEXT,
                actor=TEXT,
                about=TEXT,
                outcome=TEXT,
                reason=TEXT,
                rule=TEXT,
                policy=TEXT,
                readings=many(
                    shape(name=TEXT, query=or_null(TEXT), value=or_null(TEXT), state=TEXT, detail=TEXT, at=TEXT)
                ),
                findings=many({"type": "object"}),
            )
        )
    ),
    "Report": shape(
        **FIELDS_OF_AN_INCIDENT,
        ledger=TEXT,
        tenant=TEXT,
        last=WHOLE,
        as_of=TIME,
        key={"type": "object", "additionalProperties": TEXT},
        policy=TEXT,
        requested_by=TEXT,
        times=shape(**{step: or_null({"type": "number", "minimum": 0}) for step in STEPS}),
        ended_by={"type": "object", "additionalProperties": WHOLE},
        parts=many(shape(incident_id=TEXT, index=WHOLE, opened_at=TIME, ended_at=or_null(TIME), state=TEXT)),
        opened=VERDICT,
        ended=or_null(VERDICT),
        closed_by=TEXT,
        attempts=many(
            shape(
                index=WHOLE,
                action=TEXT,
                title=TEXT,
                executor=TEXT,
                params={"type": "object", "additionalProperties": TEXT},
                requested_by=TEXT,
                asked=many(TEXT),
                quorum=WHOLE,
                outcome=TEXT,
                helped=TEXT,
                course=many(LINE),
            )
        ),
        people=many(LINE),
        diagnosis=or_null({"type": "object"}),
        no_diagnosis=TEXT,
        timeline=many(LINE),
    ),
    "Entries": shape(entries=many(one_of("Entry")), next=or_null(WHOLE)),
    "Posted": shape(entries=many(one_of("Entry"))),
    "Proof": shape(index=WHOLE, leaf_hash=TEXT, tree_size=WHOLE, proof=many(TEXT), checkpoint=TEXT),
    "Reconciliation": shape(
        entries=WHOLE,
        balanced={"type": "boolean"},
        books={
            "type": "object",
            "additionalProperties": shape(
                opened=WHOLE, settled={"type": "object", "additionalProperties": WHOLE}, outstanding=WHOLE
            ),
        },
        across=many(shape(left=TEXT, left_figure=WHOLE, right=TEXT, right_figure=WHOLE)),
        findings=many(shape(index=WHOLE, rule=TEXT, detail=TEXT, remedy=TEXT)),
    ),
}

TENANT: Json = {
    "name": "tenant",
    "in": "query",
    "schema": TEXT,
    "description": '"default" where it is left out, or the only tenant there is',
}
ID: Json = {"name": "id", "in": "path", "required": True, "schema": TEXT}
INDEX: Json = {"name": "index", "in": "path", "required": True, "schema": WHOLE}


def asked(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def limit(default: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": default}
    return asked("limit", schema, "entries or incidents on a page")


def refused(description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": one_of("Error")}}}


REFUSED: Mapping[str, Json] = {
    "400": refused("a parameter or the body cannot be read; the message names it and its limits"),
    "401": refused("the admin token is needed"),
    "404": refused("there is no such thing"),
    "503": refused("the ledger cannot be read or written now"),
}


def reads(summary: str, answer: Json, *parameters: Json, media: str = "application/json") -> Json:
    """A GET for admins."""
    content = {media: {"schema": answer}}
    return {
        "summary": summary,
        "security": [{"admin": []}],
        "parameters": [*parameters, TENANT],
        "responses": {"200": {"description": summary, "content": content}, **REFUSED},
    }


def changes(summary: str, *parameters: Json, **fields: Json) -> Json:
    """A POST of a person's change, by name; the answer holds the entries that were posted."""
    body = shape(by={"type": "string", "minLength": 1, "maxLength": 64}, **fields) | {"additionalProperties": False}
    answer = {"description": "posted", "content": {"application/json": {"schema": one_of("Posted")}}}
    return {
        "summary": summary,
        "security": [{"admin": []}],
        "parameters": [*parameters, TENANT],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": answer, **REFUSED, "409": refused("it cannot be done as things stand")},
    }


WORDS_OF_A_PERSON: Json = {"type": "string", "minLength": 1, "maxLength": 2000}


def _of_incidents() -> Json:
    at = asked("at", {"anyOf": [WHOLE, TIME]}, "as it stood at this index or time, that one included")
    return {
        "/api/v1/incidents": {
            "get": reads(
                "incidents and their states, the newest first",
                one_of("Incidents"),
                asked("state", {"enum": [*WORDS]}, "only those; open and ended stand for several"),
                asked("before", WHOLE, "only those opened below this index: `next` of the page before"),
                limit(LIMIT_MAX),
            )
        },
        "/api/v1/incidents/{id}": {"get": reads("one incident, its timeline", one_of("IncidentWithTimeline"), ID, at)},
        "/api/v1/incidents/{id}/why": {
            "get": reads("every verdict: what was asked, answered and compared", one_of("Verdicts"), ID, at)
        },
        "/api/v1/incidents/{id}/report": {
            "get": reads(
                "the report for a post-mortem: what happened, who decided what, how long each part took",
                one_of("Report"),
                ID,
                at,
                asked("format", {"enum": [*FORMS], "default": FORMS[0]}, "markdown: text/markdown instead of JSON"),
            )
        },
        "/api/v1/incidents/{id}/close": {"post": changes("close an incident by hand", ID, reason=WORDS_OF_A_PERSON)},
        "/api/v1/incidents/{id}/notes": {"post": changes("put a note to an incident", ID, text=WORDS_OF_A_PERSON)},
        "/api/v1/incidents/{id}/resolutions": {
            "post": changes(
                "say what became of an unresolved execution",
                ID,
                outcome={"enum": ["ran", "did_not_run", "written_off"]},
                text=WORDS_OF_A_PERSON,
            )
        },
    }


def paths() -> Json:
    return {
        **_of_incidents(),
        "/api/v1/requests": {
            "post": changes("ask for an action by hand: its name and its key's values", text=WORDS_OF_A_PERSON)
        },
        "/api/v1/halts": {"post": changes("halt: nothing is dispatched", reason=WORDS_OF_A_PERSON)},
        "/api/v1/resumes": {"post": changes("end a halt; by another person", reason=WORDS_OF_A_PERSON)},
        "/api/v1/actions/{id}/resumes": {
            "post": changes("let an action that its breaker holds back be proposed again", ID, reason=WORDS_OF_A_PERSON)
        },
        "/api/v1/erasures": {"post": changes("destroy the key of a person", person=WORDS_OF_A_PERSON)},
        "/api/v1/people/{id}/enrolments": {"post": changes("let a person enrol; `text` is what they are to send", ID)},
        "/api/v1/people/{id}/suspensions": {
            "post": changes("nothing of a person counts until they enrol again", ID, reason=WORDS_OF_A_PERSON)
        },
        "/api/v1/ledger": {
            "get": reads(
                "entries in order",
                one_of("Entries"),
                asked("after", {**WHOLE, "minimum": -1}, "only above this index: `next` of the page before"),
                limit(100),
                asked("incident", NAME, "only of this incident"),
                asked("stage", {"enum": [*STAGES]}, "only of this stage"),
                asked(
                    "actor", NAME, "only by this actor: a page may hold fewer than `limit`, or none, before the last"
                ),
            )
        },
        "/api/v1/ledger/checkpoint": {"get": reads("the newest signed note (C2SP)", TEXT, media="text/plain")},
        "/api/v1/ledger/{index}": {"get": reads("one entry", one_of("Entry"), INDEX)},
        "/api/v1/ledger/{index}/proof": {"get": reads("its inclusion proof (RFC 6962)", one_of("Proof"), INDEX)},
        "/api/v1/reconciliation": {"get": reads("trial balance and findings", one_of("Reconciliation"))},
        "/api/v1/drills": {"post": changes("a drill: ask a person about nothing", person=WORDS_OF_A_PERSON)},
        "/api/v1/nonces": {
            "post": reads("a path of the public listener that answers `answer`, once", shape(path=TEXT, answer=TEXT))
        },
        "/api/v1/openapi.json": {"get": reads("this document", {"type": "object"})},
    }


def document(release: str) -> Json:
    """release: the version of the service."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Counterfoil", "version": release},
        "paths": paths(),
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    }
