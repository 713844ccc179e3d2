"""Whoever reads Portuguese or French is told nothing in English: every word and every refusal, through the phone."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.entry import Draft, canonical
from policy_rules.reasons import ENGLISH, Why, why
from receiver.authorization import page, sms, speech
from receiver.authorization import wording as carrier_wording
from receiver.authorization.absent import ABSENT
from receiver.authorization.codes import TRANSLATED, parse_answer
from receiver.authorization.templates import LANGUAGES as READ
from receiver.authorization.templates import NOTICE, TEMPLATES
from receiver.evidence import left_out
from receiver.execution import answers
from receiver.governor import wording
from receiver.governor.changes import GovernorChanges
from receiver.governor.phrases import PHRASES, kept, of_policy, phrase, recorded, said
from receiver.governor.viewing import QuestionDesk
from receiver.incident.duty import Duty, Rotation
from receiver.papers import ExecutionResult, Gathered, MessageKind, NotSilenced, OutgoingMessage, Silence, words
from tests.receiver.governed import POLICY, Governed
from tests.receiver.hazardous import Place
from tests.tools import ROOT

# Words that stand in nearly every English sentence, and in none of the two other languages.
ENGLISH_WORDS = re.compile(
    r"\b(the|is|of|and|not|that|this|you|your|with|was|were|are|it|its|nothing|nobody|who|what|until|by|has|have|asked|"
    r"already|cannot|any|to|be|been|than|from|must|only|runs?|ran|failed|did|does|there|they|them|when|which|whether|"
    r"needs?|names?|unknown|yet|none|before|after|first|level|open|closed|alerts|because|within|says?|told)\b",
    re.IGNORECASE,
)
# What is the same for everybody: commands, stages and ids, names of policy's numbers, commands to an operator.
SAME = re.compile(
    r"\b[A-Z]{2,}(?:_[A-Z]+)*\b|inc-[0-9a-f]+|counterfoil person \w+|person suspend|alerts\.\w+|tenants\.NAME\.\w+"
    r"|\{\w+\}"
)
TITLES = POLICY.replace("remove old files", "limpar").replace("clean:", "limpar:")
ZONES = {"pt": "Africa/Maputo", "fr": "Africa/Kinshasa"}
PAUSE = timedelta(minutes=6)  # between words: an hour allows so many answers
ROLES = {"tendai": ("oncall",), "ruth": ("leads",), "farai": ("leads",)}


async def speaking(language: str, policy: str = TITLES, people: Sequence[str] = ("tendai", "ruth")) -> Governed:
    """A tenant whose people all read `language`."""
    made = Governed(policy, {name: ROLES[name] for name in people})
    members = {
        name: replace(member, recipient=replace(member.recipient, language=language, timezone=ZONES[language]))
        for name, member in made.desk.charter.people.items()
    }
    made.governor.reload(replace(made.desk.charter, people=members))
    await made.governor.start()
    return made


async def breaks(made: Governed, *hosts: str, firing: bool = True) -> None:
    await made.fire(*hosts, firing=firing, annotations={"summary": "disco a 97 %"})


async def tap(made: Governed, person: str, verb: str) -> None:
    await made.hear(person, "x", payload=f"{verb}.{made.question(person).token}")


def shown(message: OutgoingMessage) -> list[str]:
    """The message as each channel would say it."""
    variables = {"code": "7K3P", **message.variables}
    language = message.recipient.language
    if message.kind in (MessageKind.OPENED, MessageKind.DRILL):
        digits = {**variables, "code": "481516"}
        return [*message.variables.values(), speech.question(digits, language), sms.text_of(variables, language)]
    text = carrier_wording.reply_text(variables, language)
    if message.kind is MessageKind.REPLY:
        return [text]
    return [text, speech.notice(variables, language), sms.text_of(variables, language)]


def english(made: Governed) -> str:
    """What was told to anybody that holds English of ours; what WHY quotes of the ledger stands as it stands there."""
    reasons = sorted({entry.reason.rstrip(".") for entry in made.journal.log if entry.reason}, key=len, reverse=True)
    found: dict[str, None] = {}
    for message in made.outside.messages:
        for text in shown(message):
            left = text
            for reason in reasons if re.search(r"\d\d:\d\d [A-Z_]+ (por|par) ", text) else ():
                for form in (reason, carrier_wording.clean(reason, 1000)):
                    left = left.replace(form, "")
            left = left.replace("ˍ", "_").replace("․", ".")
            if ENGLISH_WORDS.search(SAME.sub("", left)):
                found[text] = None
    return "\n".join(found)


# --- every word ---------------------------------------------------------------------------------------------------

WORDS = (
    *("status", "status 2", "status 9", "why", "detail", "note visto", "help", "bonjour", "why 0000", "detail 0000"),
    *("silence", "silence 2h", "silence 9d", "silence 0000 2h", "resume", "ran", "didnot", "writeoff 0000", "start"),
    *("run", "run nada", "run limpar", "run limpar db1", "run limpar a b c", "handover", "handover ruth", "481516"),
    *("A 7777", "R 7777", "JOIN 7777", "handover ninguem", "handover tendai"),
)


@pytest.mark.parametrize("language", ZONES)
async def test_every_word_is_answered_in_the_persons_language(language: str) -> None:
    made = await speaking(language)
    for hosts in ((), ("db1", "db2", "db3", "db4", "db5", "db6")):
        if hosts:
            await breaks(made, *hosts)
        for word in WORDS:
            await made.hear("tendai", word)
            made.clock.advance(made.clock.now() + PAUSE)
    assert len(made.told("tendai")) > 1.5 * len(WORDS)
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
async def test_halts_drills_enrolment_and_opting_out_are_said_in_it(language: str) -> None:
    made = await speaking(language)
    changes = GovernorChanges(made.desk)
    for verb in ("onit", "approve", "reject"):
        await changes.drill("operator", "tendai")
        await made.rest()
        await tap(made, "tendai", verb)
        await tap(made, "tendai", "approve" if verb == "onit" else verb)
    await changes.drill("operator", "tendai")
    await made.after(3600)
    join, _ = await changes.enrol("operator", "tendai")
    await made.hear("tendai", "JOIN 7777")
    await made.hear("tendai", f"JOIN {join}", identity="one")
    for word in ("halt", "halt", "status", "resume"):
        await made.hear("ruth", word)
    await breaks(made)
    await tap(made, "tendai", "approve")
    await made.hear("tendai", "resume")
    await made.hear("ruth", "stop")
    await made.hear("ruth", "start")
    await made.hear("tendai", "status", identity="another")
    assert len(made.told("tendai")) > 12
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
async def test_duty_is_said_in_it(language: str) -> None:
    made = await speaking(language, people=("tendai", "ruth", "farai"))
    rotation = Rotation("p", "oncall", ("tendai", "farai"), date(2026, 11, 16), 7, 9 * 60, ZONES[language])
    members = {name: replace(m, roles=frozenset()) for name, m in made.desk.charter.people.items()}
    members["ruth"] = replace(members["ruth"], roles=frozenset({"leads"}))
    members["tendai"] = members["farai"] = replace(members["tendai"], roles=frozenset({"oncall"}))
    members = {name: replace(m, recipient=made.desk.charter.people[name].recipient) for name, m in members.items()}
    made.governor.reload(replace(made.governor._given, people=members, duty=Duty((rotation,))))
    await made.rest()
    await breaks(made)
    for person in members:
        for word in ("handover", "handover ninguem", "handover ruth", f"handover {person}", "handover tendai"):
            await made.hear(person, word)
            made.clock.advance(made.clock.now() + PAUSE)
    await made.hear("tendai", "handover farai")
    for name in ("tendai", "farai"):
        await made.hear(name, "stop")
    await made.after(timedelta(days=8).total_seconds())
    assert any("oncall" in text for text in made.told("ruth"))
    assert english(made) == ""


# --- every refusal ------------------------------------------------------------------------------------------------

PIN = TITLES.replace("title: limpar,", "title: limpar, pin: true,")
TWO = TITLES.replace("roles: [oncall, leads]}", "roles: [oncall, leads], quorum: 2}")


@pytest.mark.parametrize("language", ZONES)
async def test_an_answer_that_does_not_count_is_refused_in_it(language: str) -> None:
    made = await speaking(language, TWO, ("tendai", "ruth", "farai"))
    await breaks(made)
    await tap(made, "tendai", "onit")
    await tap(made, "tendai", "approve")
    await tap(made, "tendai", "approve")
    without = replace(made.governor._given.people["ruth"], roles=frozenset())
    made.desk.charter = replace(made.desk.charter, people={**made.desk.charter.people, "ruth": without})
    await tap(made, "ruth", "approve")  # the policy does not let her any more
    made.clock.advance(made.clock.now() + timedelta(minutes=16))
    await tap(made, "farai", "reject")
    await tap(made, "farai", "approve")
    assert len(made.entries("REFUSED")) >= 4
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
async def test_a_pin_is_asked_for_refused_and_locked_in_it(language: str) -> None:
    made = await speaking(language, PIN)
    members = {
        name: replace(m, pin="a hash" if name == "tendai" else None) for name, m in made.desk.charter.people.items()
    }
    made.governor.reload(replace(made.governor._given, people=members))
    await breaks(made)
    code = made.question("tendai").variables["code"]
    await made.hear("tendai", f"A {code}")
    for _ in range(6):
        await made.hear("tendai", f"A {code} 481517", pin="wrong")
    assert made.entries("REFUSED")[-1].body["why"] == "PIN locked"
    assert english(made) == ""


ALWAYS = "time_intervals: [{name: sempre, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}]"
DENIED = {
    "blocked": "blocked_during: [sempre], ",
    "limit": "limit: {max: 1, per: 1h}, ",
    "cooldown": "limit: {cooldown: 1h}, ",
    "not allowed": "params: {host: {label: host, allow: [outro]}}, ",
    "when": "when: [alerts.firing >= 99], ",
    "two levels": "",
    "too few": "",
}


@pytest.mark.parametrize("language", ZONES)
@pytest.mark.parametrize("reason", DENIED)
async def test_why_nothing_is_proposed_is_said_in_it(reason: str, language: str) -> None:
    policy = TITLES.replace("executor: clean, ", f"executor: clean, {DENIED[reason]}")
    if reason == "blocked":
        policy = policy.replace("rules:", f"{ALWAYS}\nrules:", 1)
    if reason == "two levels":
        policy = policy.replace("[oncall, leads]}", "[oncall], second: {roles: [direction], quorum: 1}}")
    if reason == "too few":
        policy = policy.replace("[oncall, leads]}", "[oncall], quorum: 2}")
    made = await speaking(language, policy)
    await breaks(made)
    if reason in ("limit", "cooldown"):
        await tap(made, "tendai", "approve")
        await breaks(made, firing=False)
        await breaks(made)
        await made.after(60)
    assert any("{" not in text and "limpar" in text for text in made.told("tendai"))
    await made.hear("tendai", "run limpar db1")
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
@pytest.mark.parametrize(
    ("status", "raw", "plan"),
    [
        (500, b"", {}),
        (502, b"", {}),
        (200, b'{"exit_code": 3}', {}),
        (409, b'{"exit_code": 3}', {}),
        (409, b'{"error": {"code": "begun_before"}}', {}),
        (200, b'{"exit_code": "x"}', {}),
        (200, b"{", {}),
        (200, b'{"a": 1}', {"path": "b", "success": ["ok"], "failure": ["ko"]}),
        (200, b'{"b": "talvez"}', {"path": "b", "success": ["ok"], "failure": ["ko"]}),
        (200, b'{"b": "ko"}', {"path": "b", "success": ["ok"], "failure": ["ko"]}),
    ],
)
async def test_what_became_of_a_run_is_said_in_it(
    status: int, raw: bytes, plan: dict[str, Any], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await speaking(language)

    async def answered(*args: object, **more: object) -> ExecutionResult:
        return answers.judge(status, {"Content-Type": "application/json"}, raw, plan)

    monkeypatch.setattr(made.executors, "send", answered)
    await breaks(made)
    await tap(made, "tendai", "approve")
    (ended,) = [*made.entries("FAILED"), *made.entries("UNRESOLVED")]
    assert ended.reason == answers.judge(status, {"Content-Type": "application/json"}, raw, plan).detail
    assert any(said(language, recorded(ended.body["said"], "")) in text for text in made.told("ruth"))
    for word in ("why", "detail", "didnot"):
        await made.hear("tendai", word)
    await made.after(3600)
    await breaks(made, firing=False)
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
async def test_what_is_withdrawn_voided_and_asked_by_hand_is_said_in_it(language: str) -> None:
    made = await speaking(language, people=("tendai", "ruth", "farai"))
    await breaks(made)
    await GovernorChanges(made.desk).suspend("operator", "farai", "x")
    await made.rest()  # what was open to them is withdrawn, and asked of the others
    await made.hear("ruth", "halt")
    await tap(made, "tendai", "approve")
    await made.after(1800)  # what was authorized could not be dispatched in time
    await breaks(made, firing=False)
    await made.hear("tendai", "resume")
    for ends in ("reject", "expire", "approve"):
        await made.hear("tendai", "run limpar db2")
        if ends != "expire":
            await tap(made, "ruth", ends)
        await made.after(7200)
    assert {"WITHDRAWN", "VOIDED", "CLOSED"} <= {entry.stage for entry in made.journal.log}
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
@pytest.mark.parametrize(
    "answer",
    [
        NotSilenced(words("alertmanager answers", server="http://am", status=500), again=False),
        NotSilenced(words("alertmanager mute", server="http://am", error="TimeoutError"), again=False),
        None,
    ],
)
async def test_what_alertmanager_does_not_take_is_said_in_it(answer: NotSilenced | None, language: str) -> None:
    made = await speaking(language)

    class Elsewhere:
        async def silence(self, silence: Silence) -> str | NotSilenced:
            return answer if answer is not None else "one"

    made.desk.silencer = Elsewhere()
    await breaks(made, "db1")
    await made.hear("tendai", "silence 2h")
    await breaks(made, firing=False)
    (incident,) = made.desk.book.incidents
    await made.hear("tendai", f"silence {incident} 2h")
    assert len(made.told("tendai")) >= 3
    assert english(made) == ""


@pytest.mark.parametrize("language", ZONES)
async def test_the_page_of_a_question_is_in_it(language: str) -> None:
    made = await speaking(language)
    await breaks(made)
    index = int(made.question("tendai").message_id.rpartition("-")[2])
    view = await QuestionDesk(made.desk).view(index)
    assert view is not None
    quoted = replace(view, history=())
    shown_page = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.render(language, quoted, form="x"))
    assert not ENGLISH_WORDS.search(SAME.sub("", shown_page)), shown_page
    assert f'lang="{language}"' in page.render(page.read_by(f"{language}-XX,en;q=0.5"), None, said="unknown")
    assert page.read_by("") == page.read_by("sn,ts;q=0.3") == "en"


@pytest.mark.parametrize("language", ZONES)
async def test_what_was_not_looked_at_is_said_in_it(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await speaking(language)
    answer = words("look failed", what=words("other alerts"), why=words("not answered", seconds="5"))
    cut = (words("no prometheus"), answer)

    async def around(*args: object, **more: object) -> Gathered:
        return Gathered(cut=tuple(left_out.text(one) for one in cut), left_out=cut)

    monkeypatch.setattr(made.outside, "around", around)
    await breaks(made)
    await tap(made, "tendai", "reject")
    await made.hear("tendai", "detail")
    assert "Prometheus" in made.told("tendai")[-1]
    (consulted,) = made.entries("CONSULTED")
    assert consulted.body["case"]["cut"] == [left_out.text(one) for one in cut]
    assert english(made) == ""


# --- the whole service, and the phones of the stand-in ---

SPOKEN = ("status", "bonjour", "estado", "aide", "why", "detail", "note visto", "silence 2h", "run mend h1", "ran")
SPOKEN += ("handover", "A 7777", "A {code}", "A {code}", "R {code}", "resume", "halt", "status", "JOIN 7777")


async def test_on_the_phones_of_the_stand_in_each_reads_their_own(tmp_path: Path) -> None:
    """Four people of three languages: what each gets is read on their phone, as WhatsApp would show it."""
    place = Place(tmp_path / "installation")
    place.languages = {"ada": "pt_BR", "cyn": "fr", "dan": "fr"}
    async with place.open(quorum=2):
        await place.fire("h0")
        questions = {name: await place.asked(name) for name in ("ada", "ben", "cyn")}
        titles = [questions[name].buttons[0].title for name in questions]
        assert titles == ["Aprovar", "Approve", "Approuver"]
        for name in ("ada", "cyn"):
            code = re.search(r"\*A ([0-9A-Z]{4})\*", questions[name].body)
            assert code is not None
            for word in SPOKEN:
                heard = len(await place.entries("HEARD"))
                await place.say(name, word.format(code=code[1]))
                await place.entry("HEARD", heard + 1)
                await place.judged()
        await place.admin("/api/v1/resumes", by="operator", reason="x")
        await place.entry("EXECUTED")
        await place.fire("h0", firing=False)
        for name in ("ada", "cyn"):
            await place.phone(name).next_message(says={"ada": "Recuperado", "cyn": "Rétabli"}[name])
        for name in ("ada", "cyn", "dan"):
            bodies = [message.body for message in place.phone(name).messages if not message.inbound]
            assert len(bodies) >= (20 if name != "dan" else 3)
            assert all(carrier_wording.units_of(body) <= 1024 for body in bodies)
            left = [unquoted(body) for body in bodies]
            assert [text for text in left if ENGLISH_WORDS.search(text)] == []


def unquoted(body: str) -> str:
    """What the service says by itself: not the policy's English, and not what WHY quotes of the ledger."""
    body = re.sub(r"\d\d:\d\d [A-Z_]+ (por|par) .*?(?= \d\d:\d\d [A-Z]|$)", "", body, flags=re.DOTALL)
    return SAME.sub("", body.replace("ˍ", "_").replace("․", ".").replace("mend it", ""))


# --- the catalogue ------------------------------------------------------------------------------------------------


def texts() -> Iterator[tuple[str, str, str]]:
    """Every text of every table that a phone may show: its place, its language, itself."""
    for key, row in PHRASES.items():
        yield from ((f"phrase {key}", language, text) for language, text in row.items())
    for language, absent in ABSENT.items():
        yield from ((f"absent {name}", language, text) for name, text in absent.items())
    for language, table in page.WORDS.items():
        yield from ((f"page {name}", language, text) for name, text in table.items())
    for language in READ:
        said_in = speech.speech_for(language)
        for name in said_in.__slots__:
            value = getattr(said_in, name)
            for text in value.values() if not isinstance(value, str) else [value]:
                yield f"speech {name}", language, text
        yield "sms", language, sms.ONE_WAY[language]
    yield from ((template.friendly_name, template.language, template.body) for template in TEMPLATES)


def test_every_text_is_in_its_language() -> None:
    rows = list(texts())
    assert {language for _, language, _ in rows} == set(READ)
    assert [row for row in rows if row[1] != "en" and ENGLISH_WORDS.search(SAME.sub("", row[2]))] == []


def test_every_kind_of_policys_reasons_is_a_sentence_of_the_catalogue() -> None:
    assert {f"policy: {kind}" for kind in ENGLISH} == {key for key in PHRASES if key.startswith("policy: ")}
    nested = why(
        "the alert's word",
        found=why("found", parts=(why("is", name="a", value=1, operator=">", threshold=0),)),
        length="1m",
    )
    assert nested.text() == said("en", of_policy(nested)) == "a 1 > 0 for 1m: the alert's word counts"
    assert said("pt", of_policy(nested)) == "a 1 > 0 durante 1m: vale a palavra do alerta"


def test_what_a_verdict_says_is_kept_and_read_again() -> None:
    for kind, sentence in ENGLISH.items():
        made = of_policy(Why(kind, {name: "x" for _, name, _, _ in string.Formatter().parse(sentence) if name}))
        assert recorded(kept(made), "otherwise") == made


KEPT_BY_NOBODY: tuple[object, ...] = (
    *(None, "x", 7, [], {}, {"key": "over"}, {"key": "over", "values": 3}, {"key": ["over"], "values": {}}),
    *({"key": "dropped since", "values": {}}, {"key": "by rule", "values": {"rule": "x"}}),
    {"key": "headline", "values": {"title": {"key": "no"}, "finding": "x"}},
)


@pytest.mark.parametrize("body", KEPT_BY_NOBODY)
def test_what_an_older_ledger_did_not_keep_is_told_as_it_was_recorded(body: object) -> None:
    assert recorded(body, "it is over") == "it is over"


async def test_an_incident_of_an_older_ledger_is_told_as_it_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await speaking("pt")
    posted = made.journal.post

    async def without(tenant: str, drafts: Sequence[Draft]) -> Any:
        bodies = [{name: value for name, value in draft.body.items() if name != "said"} for draft in drafts]
        return await posted(tenant, [replace(d, body=body) for d, body in zip(drafts, bodies, strict=True)])

    monkeypatch.setattr(made.journal, "post", without)
    await breaks(made)
    await made.after(900)
    assert all("said" not in entry.body for entry in made.journal.log)
    assert any("alerts.firing 1 >= 1. Aberto há" in text for text in made.told("ruth"))


@pytest.mark.parametrize("language", READ)
def test_every_answer_and_every_notice_fits_the_phone(language: str) -> None:
    """Of a phrase by itself, with short values: what is cut on the phone is no sentence."""
    for key, row in PHRASES.items():
        values = {name: "x" for _, name, _, _ in string.Formatter().parse(row["en"]) if name}
        text = phrase(language, key, **values)
        assert carrier_wording.units_of(text) <= NOTICE.limits["text"], key
        assert "…" not in carrier_wording.reply_text({"text": text, "reference": "inc-7f3a9c0012"}, language), key


@pytest.mark.parametrize(
    ("language", "called", "cleaned"),
    [
        ("en", "DiskFilling (no key) (again, part 2)", "see [link] or [number]"),
        ("pt", "DiskFilling (sem chave) (outra vez, parte 2)", "see [ligação] or [número]"),
        ("fr", "DiskFilling (sans clé) (de nouveau, partie 2)", "see [lien] or [numéro]"),
    ],
)
async def test_what_we_add_to_others_words_is_in_it(language: str, called: str, cleaned: str) -> None:
    made = await speaking("pt", TITLES.replace("group_by: [host]", "group_by: []"))
    await breaks(made)
    (incident,) = made.desk.book.open.values()
    assert wording.title(incident, "en") == "DiskFilling (no key)"
    incident.title, incident.part = f"{incident.title} (again, part 2)", 2
    assert wording.title(incident, language) == called
    incident.part = 3
    assert wording.title(incident, language) == incident.title  # the alert's own words look alike, and stay
    assert carrier_wording.clean("see https://x.example/ or +263 77 123 4567", 100, language) == cleaned


# --- words in the person's own language -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verb", "about"),
    [
        ("Estado", "status", None),
        ("ÉTAT 2", "status", "2"),
        ("etat.", "status", None),
        ("Ajuda!", "help", None),
        ("aide", "help", None),
        ("porquê inc-7f3a", "why", "inc-7f3a"),
        ("pourquoi 7f3a", "why", "7f3a"),
        ("detalhes 7f3a", "detail", "7f3a"),
        ("détail", "detail", None),
        ("nota 7f3a liguei ao fornecedor", "note", "7f3a"),
        ("estadio", "other", None),
        ("sim", "other", None),
        ("oui", "other", None),
        ("aprovar", "other", None),
        ("approuver 7K3P", "other", None),
        ("retomar", "other", None),
        ("parar", "other", None),
    ],
)
def test_what_asks_for_words_alone_may_be_said_in_other_languages(text: str, verb: str, about: str | None) -> None:
    answer = parse_answer(text, None)
    assert (answer.verb, answer.about, answer.code, answer.token) == (verb, about, None, None)


def test_no_word_of_another_language_decides_anything() -> None:
    assert set(TRANSLATED.values()) <= {"status", "why", "detail", "help", "note"}


# --- nothing is said beside the catalogue ---------------------------------------------------------------------------

# function → where in its arguments the text to people stands
SAID = {"heed": 4, "reply_to": 3, "replies": 3, "notices": 4, "escalation": 4, "saying": 0, "asking": 0}


def sentences(tree: ast.AST) -> Iterator[str]:
    """What a function of `tree` hands to people that is written in it or beside it, and not looked up."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        assigned = assignments(tree.body if isinstance(tree, ast.Module) else []) | assignments(ast.walk(function))
        for node in ast.walk(function):
            for value in told(node) if isinstance(node, ast.Call) else ():
                for one in parts(value):
                    yield from written(one)
                    for found in assigned.get(one.id, ()) if isinstance(one, ast.Name) else ():
                        yield from (text for part in parts(found) for text in written(part))


def told(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that people read or hear."""
    yield from (keyword.value for keyword in call.keywords if keyword.arg in ("reply", "text"))
    name = (
        call.func.id
        if isinstance(call.func, ast.Name)
        else call.func.attr
        if isinstance(call.func, ast.Attribute)
        else ""
    )
    if len(call.args) > SAID.get(name, 99):
        yield call.args[SAID[name]]


def assignments(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    assigned: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, []).append(node.value)
    return assigned


def parts(value: ast.expr) -> Iterator[ast.expr]:
    """`value` and what it is made of, but not what a look-up or a comparison is made of."""
    if isinstance(value, ast.Call | ast.Compare | ast.Subscript):
        return
    yield value
    for below in ast.iter_child_nodes(value):
        if isinstance(below, ast.expr):
            yield from parts(below)


def written(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and re.search(r"[A-Za-z]{2}", value.value):
        yield value.value


def test_nothing_is_said_to_people_that_is_not_in_a_catalogue() -> None:
    governor = sorted((ROOT / "receiver/governor").glob("*.py"))
    paths = [*governor, *(ROOT / "receiver/intake" / name for name in ("calls.py", "questions.py"))]
    found = [
        f"{path.name}: {text}" for path in paths for text in sentences(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('async def f():\n    await heed(d, h, p, "what", "Noted, thank you")', True),
        ('async def f():\n    text = f"{n} alerts"\n    await heed(d, h, p, "what", text)', True),
        ('async def f():\n    await refuse(d, h, "why", reply="no such thing")', True),
        ('NOBODY = "Goodbye"\ndef f():\n    return voice.saying(NOBODY, "en")', True),
        ('def f():\n    return web.Response(text="Try again.")', True),
        ('def f(words):\n    return voice.saying(f"{words.closed} {words.goodbye}", "en")', False),
        ('async def f():\n    text = words("noted")\n    await heed(d, h, p, "what", text)', False),
        ('async def f():\n    await heed(d, h, p, "what", None)', False),
    ],
)
def test_the_search_for_what_is_said_beside_it_finds_it(code: str, found: bool) -> None:
    assert bool([*sentences(ast.parse(code))]) is found


@pytest.mark.parametrize("code", [2**53, -(2**53), 10**30, 0.5])
def test_a_number_that_no_entry_holds_is_kept_as_text(code: float) -> None:
    """An executor may answer with any exit code, and what became of its run is recorded all the same."""
    wanted = words("run exit code", code=code)
    assert json.loads(canonical(kept(wanted))) == {"key": "run exit code", "values": {"code": str(code)}}
    assert str(code) in said("en", wanted)
