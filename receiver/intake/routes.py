"""Both listeners: which address is answered by which handler, and every error in one form."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from receiver.intake.admission import REQUESTS_AT_ONCE, Admission
from receiver.intake.alerts import MAX_BODY_BYTES, AlertIntake
from receiver.intake.calls import Calls
from receiver.intake.changes import ChangeDesk, error, not_admitted
from receiver.intake.nonces import PATH as NONCE_PATH
from receiver.intake.nonces import Nonces
from receiver.intake.questions import PATH as QUESTION_PATH
from receiver.intake.questions import Questions
from receiver.intake.replies import Replies
from receiver.intake.results import Results
from receiver.metrics import CONTENT_TYPE, Metrics

log = logging.getLogger(__name__)

# Answered however much else there is to do: they say how it stands.
ALWAYS_ANSWERED = frozenset({"/metrics", "/-/healthy", "/-/ready"})
CODES = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def private_app(
    *,
    alerts: AlertIntake,
    changes: ChangeDesk,
    admission: Callable[[], Admission],
    metrics: Metrics,
    not_ready: Callable[[], Sequence[str]],
    reload: Callable[[], Awaitable[bool]],
    reading: Callable[[web.Application], None],
    measure: Callable[[], None],
    nonces: Nonces | None = None,
) -> web.Application:
    """The listener for Alertmanager, Prometheus and admins.

    reading: adds the auditor's pages and API. measure: sets what is only known when it is asked for.
    """
    app = web.Application(middlewares=[_places(), _errors], client_max_size=MAX_BODY_BYTES)

    async def exposition(request: web.Request) -> web.Response:
        measure()
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def healthy(request: web.Request) -> web.Response:
        return web.Response(text="Counterfoil is healthy.\n")

    async def ready(request: web.Request) -> web.Response:
        reasons = not_ready()
        if reasons:
            return web.Response(text="".join(f"{reason}\n" for reason in reasons), status=503)
        return web.Response(text="Counterfoil is ready.\n")

    async def reread(request: web.Request) -> web.Response:
        if not admission().admin_admitted(request):
            return not_admitted()
        if await reload():
            return web.json_response({"status": "reloaded"})
        return error(500, "not_reloaded", "the configuration or a policy does not hold; the log says where")

    for path in ("/alertmanager", "/alertmanager/", "/alertmanager/{tenant}", "/alertmanager/{tenant}/"):
        app.router.add_post(path, alerts.alerts)
        app.router.add_put(path, alerts.alerts)
    _change_routes(app, changes)
    if nonces is not None:
        app.router.add_post("/api/v1/nonces", nonces.make)
    app.router.add_get("/metrics", exposition)
    app.router.add_get("/-/healthy", healthy)
    app.router.add_get("/-/ready", ready)
    app.router.add_post("/-/reload", reread)
    app.router.add_put("/-/reload", reread)
    reading(app)
    return app


def _change_routes(app: web.Application, changes: ChangeDesk) -> None:
    """What a person changes, by name."""
    app.router.add_post("/api/v1/incidents/{id}/close", changes.close)
    app.router.add_post("/api/v1/incidents/{id}/notes", changes.note)
    app.router.add_post("/api/v1/incidents/{id}/resolutions", changes.resolve)
    app.router.add_post("/api/v1/requests", changes.request)
    app.router.add_post("/api/v1/halts", changes.halt)
    app.router.add_post("/api/v1/resumes", changes.resume)
    app.router.add_post("/api/v1/actions/{id}/resumes", changes.resume_action)
    app.router.add_post("/api/v1/erasures", changes.erase)
    app.router.add_post("/api/v1/people/{id}/enrolments", changes.enrol)
    app.router.add_post("/api/v1/people/{id}/suspensions", changes.suspend)
    app.router.add_post("/api/v1/drills", changes.drill)


def public_app(
    *,
    replies: Replies,
    calls: Calls,
    results: Results,
    nonces: Nonces | None = None,
    questions: Questions | None = None,
) -> web.Application:
    """The listener that a reverse proxy may publish: /twilio/*, /q/* and /executions/*, and nothing else."""
    app = web.Application(middlewares=[_places(), _errors])
    app.router.add_post("/twilio/message", replies.message)
    app.router.add_post("/twilio/status", replies.status)
    app.router.add_post("/twilio/voice", calls.voice)
    if nonces is not None:
        app.router.add_get(f"{NONCE_PATH}{{nonce}}", nonces.answer)
    if questions is not None:
        app.router.add_get(f"{QUESTION_PATH}{{token}}", questions.show)
        app.router.add_post(f"{QUESTION_PATH}{{token}}", questions.decide)
    app.router.add_post("/executions/{id}", results.result)
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the server itself refuses is said in our form. A defect of ours stays a 500, and is logged whole."""
    try:
        return await handler(request)
    except web.HTTPException as refused:
        if refused.status < 400:
            raise
        answer = error(refused.status, CODES.get(refused.status, "refused"), refused.reason)
        if "Allow" in refused.headers:
            answer.headers["Allow"] = refused.headers["Allow"]
        return answer


def _places() -> Middleware:
    """At most REQUESTS_AT_ONCE requests are worked on; one more is told at once to come back."""
    under_way = 0

    @web.middleware
    async def places(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal under_way
        if request.path in ALWAYS_ANSWERED:
            return await handler(request)
        if under_way >= REQUESTS_AT_ONCE:
            answer = error(503, "busy", "too many requests at once")
            answer.headers["Retry-After"] = "1"
            return answer
        under_way += 1
        try:
            return await handler(request)
        finally:
            under_way -= 1

    return places
