"""The page behind a question's link: who looks at it, and what is posted there."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from aiohttp import web

from tests.simulation import happenings, telling
from tests.simulation.history import History
from tests.simulation.world import Tap, Text

_FORM = re.compile(r'name="form" value="([^"]*)"')
ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"}
WRONG = "YYYY"  # looks like a code, and is nobody's
TRIES = 6  # one more than are looked at


@dataclass
class Page:
    """What a browser shows: the status, the text, and the form in it."""

    status: int
    text: str

    @property
    def form(self) -> str | None:
        found = _FORM.search(self.text)
        return found[1] if found else None


async def opens_page(history: History) -> None:
    """Somebody opens the link of a question, looks, and may decide there."""
    world, rng = history.world, history.rng
    linked = [text for text in world.texts if text.page is not None]
    if not linked:
        return
    fresh = [text for text in linked if happenings.is_open(history, text)]
    text = rng.choice(fresh) if fresh and rng.random() < 0.9 else rng.choice(linked[-8:])
    scanned = world.fault("page: a scanner", 0.2)
    page = await (_at_rest(history, text) if scanned or rng.random() < 0.3 else _looks(history, text))
    if page.form is None:
        return
    if world.fault("page: no longer asked", 0.05):
        button = happenings.button("approve", text.token, text.sid)
        await happenings.say(history, text.phone, button, "approve", text, original=text.sid)
    if world.fault("page: after the close", 0.06):
        await history.passes(rng.choice([590, 605]))
        await (history.rest() if rng.random() < 0.5 else history.settle())
    await _decides(history, text, page.form)


async def forged_link(history: History) -> None:
    """A link that no message of ours has, or that is a button's."""
    world = history.world
    tokens = [text.token for text in world.texts if text.token is not None]
    token = history.rng.choice([f"7-{'a' * 24}", "nonsense", *tokens[-2:]])
    world.fault("page: forged link", 1.0)
    for fields in (None, {"verb": "approve", "code": WRONG, "form": f"{'0' * 16}.{'0' * 32}"}):
        answer = await history.during(history.doors.page(f"/q/{token}", fields), waits=True)
        for model in history.models.values():
            model.need(answer.status in (404, 503), None, f"law 3: a forged link is answered with {answer.status}")


async def _looks(history: History, text: Text) -> Page:
    """A look while the service works on: nobody is heard by it."""
    model = history.models[text.tenant]
    before = len(model.heard)
    answer = await history.during(history.doors.page(text.page or ""))
    model.need(len(model.heard) == before, None, "law 3: somebody is heard who only looked at a page")
    return _shown(history, text, answer.status, answer.text or "")


async def _at_rest(history: History, text: Text) -> Page:
    """A look while nothing else happens: not one entry comes of it, and it shows what stands."""
    sizes = {tenant: model.size for tenant, model in history.models.items()}
    answer = await history.doors.page(text.page or "")
    page = _shown(history, text, answer.status, answer.text or "")
    model = history.models[text.tenant]
    model.need(sizes == {t: m.size for t, m in history.models.items()}, None, "law 3: a look at a page changed the log")
    person = model.agreed.staff.get(text.name)
    question = model.questions[model.entries[text.index].cites[0]]
    now = max(history.world.clock.now(), model.entries[-1].timestamp)
    open_ = question.outcome is None and question.case.ended is None and now < question.until("expires_at")
    expected = 404 if person is None or person.suspended else 200 if open_ else 410
    if not history.unwritten:
        model.need(page.status == expected, None, f"law 3: the page of {text.index} is {page.status}, not {expected}")
        asked = text.name in question.entry.body["approvers"] and text.name not in question.approvals
        model.need(page.form is None or (open_ and asked), None, f"law 3: {text.name} is asked who may not answer")
    return page


def _shown(history: History, text: Text, status: int, body: str) -> Page:
    told = re.search(rf"\b{text.code}\b", body) is not None
    history.models[text.tenant].need(not told, None, f"law 3: the page of {text.index} tells its code")
    return Page(status, body)


# --- what is posted --------------------------------------------------------------------------------------------------


async def _decides(history: History, text: Text, form: str) -> None:
    world, rng = history.world, history.rng
    verb, code = rng.choice(["approve", "approve", "approve", "reject", "onit"]), text.code or ""
    if world.fault("page: from elsewhere", 0.08):
        await _posts(history, text, form, verb, code, headers=ELSEWHERE)
    if world.fault("page: form of nobody", 0.08):
        await _posts(history, text, f"{'0' * 16}.{'0' * 32}", verb, code)
    if world.fault("page: incomplete", 0.08):
        await _posts(history, text, form, *rng.choice([("", code), (verb, ""), (verb, "A B"), ("halt", code)]))
    if world.fault("page: many wrong codes", 0.05):
        form = await _tries(history, text, form, TRIES)
    elif world.fault("page: wrong code", 0.15):
        form = await _tries(history, text, form, 1)
    others = [other.code for other in world.texts if other.code and other.code != code and len(other.code) == 4]
    if others and world.fault("page: another's code", 0.08):
        code = rng.choice(others[-8:])
    typed = code.lower() if rng.random() < 0.2 else code
    if world.fault("page: form twice at once", 0.08):
        await _posts(history, text, form, verb, typed, times=2)
    else:
        await _posts(history, text, form, verb, typed)
    if world.fault("page: form twice", 0.15):
        await _posts(history, text, form, verb, typed)
    if world.fault("page: form changed", 0.15):
        await _posts(history, text, form, "approve" if verb == "reject" else "reject", text.code or "")


async def _tries(history: History, text: Text, form: str, times: int) -> str:
    """Wrong codes, each in the form of the page that came before; the form that is left."""
    for _ in range(times):
        page = await _posts(history, text, form, "approve", WRONG)
        form = page.form or form
    return form


async def _posts(
    history: History,
    text: Text,
    form: str,
    verb: str,
    code: str,
    *,
    headers: dict[str, str] | None = None,
    times: int = 1,
) -> Page:
    """The form as it is filled in; `times` at once."""
    model, key = history.models[text.tenant], f"web:{text.index}:{form}"
    before = model.heard.get(f"heard:{key}")
    if verb in ("approve", "reject", "onit"):
        about = text if code.upper() == text.code else None
        telling.means(history, key, Tap(key, text.phone, verb, about, True, None))
    fields = {"verb": verb, "code": code, "form": form}

    async def all_at_once() -> list[web.Response]:
        return await asyncio.gather(*[history.doors.page(text.page or "", fields, headers) for _ in range(times)])

    with telling.judged_late(history):
        (answer, *_) = await history.during(all_at_once(), waits=True)
    page = _shown(history, text, answer.status, answer.text or "")
    if page.status in (200, 202, 403) and headers is None:
        telling.judge(history, text, key, verb, code.upper(), page.text)
    elif page.status != 503:
        model.need(model.heard.get(f"heard:{key}") is before, None, f"law 3: heard, and answered with {page.status}")
    return page
