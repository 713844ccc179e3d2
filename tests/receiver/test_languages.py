"""What people read: every text, in every language, with the worst values, within WhatsApp's rules."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_rules.reasons import ENGLISH
from receiver.authorization import wording as carrier_wording
from receiver.authorization.absent import ABSENT
from receiver.authorization.templates import LANGUAGES, NOTICE, OPENED, TEMPLATES, language_of, template_for
from receiver.demo.phone import Refusal, rules
from receiver.demo.phone import Template as Stored
from receiver.governor import doubting, judging, wording
from receiver.governor.cause_phrases import NO_DIAGNOSIS
from receiver.governor.phrases import PHRASES, phrase
from receiver.governor.reply_phrases import REPLIES
from receiver.incident import drills
from receiver.incident.consulting import Consultation
from receiver.incident.states import Incident, IncidentState, Proposal
from receiver.papers import Recipient, words
from tests.receiver.governed import NOW, Governed
from tests.tools import ROOT

TOKEN = "12-q5x3k2hc7m4nwzsjv6ytr2dp"
WORST = "\u202e*_~`“”{{1}}\n\n\tABER\u200b https://evil.example/x +263 77 123 4567      \U0001f525" * 40
READERS = {
    "en": Recipient("a", "whatsapp:+1", "en", "America/Sao_Paulo"),
    "pt": Recipient("b", "whatsapp:+2", "pt_BR", "Africa/Maputo"),
    "fr": Recipient("c", "whatsapp:+3", "fr", "Africa/Kinshasa"),
}
NEWS = (
    *("DISPATCHED", "REJECTED", "EXPIRED", "WITHDRAWN", "VOIDED", "FAILED", "UNRESOLVED", "UNCONFIRMED"),
    *("RECOVERED", "CLOSED", "DIAGNOSED", "GONE"),
)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", PHRASES)
def test_every_sentence_is_there_in_every_language_with_the_same_values(key: str) -> None:
    assert set(PHRASES[key]) == set(LANGUAGES)
    values = [placeholders(text) for text in PHRASES[key].values()]
    assert values[1:] == values[:-1]


def test_every_sentence_is_said_and_none_is_said_that_is_not_there() -> None:
    """A key that nothing asks for is dead, and one that is asked for and missing would end a step."""
    asked: set[str] = set()
    folders = ("governor", "incident", "evidence", "execution", "rehearsal")
    for path in (path for folder in folders for path in (ROOT / "receiver" / folder).glob("*.py")):
        if path.name.endswith(("phrases.py", "reasons.py", "left_out.py")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in PHRASES:
                asked.add(node.value)
    computed = {*NEWS, "heartbeat missing", "heartbeat back", "halted", "resumed", "of halted", "of resumed"}
    computed |= {f"already {outcome}" for outcome in (*judging.OUTCOMES, "closed")}
    computed |= {f"settled {outcome}" for outcome in doubting.OUTCOMES.values()}
    computed |= {f"drill {outcome}" for outcome in drills.OUTCOMES}
    computed |= {f"drill: {line}" for line in wording.DRILL_LINES}
    computed |= {str(state) for state in IncidentState}
    computed |= {f"policy: {kind}" for kind in ENGLISH} | NO_DIAGNOSIS
    computed |= {"run exit code", "run exit code before", "run answered before"}
    assert set(PHRASES) - asked == computed - asked


def test_the_templates_and_what_is_absent_are_there_in_every_language() -> None:
    assert {(t.stem, t.language) for t in TEMPLATES} == {(s, x) for s in (OPENED.stem, NOTICE.stem) for x in LANGUAGES}
    assert {language: set(words) for language, words in ABSENT.items()} == {key: set(ABSENT["en"]) for key in LANGUAGES}


@pytest.mark.parametrize(
    ("given_language", "read"), [("pt", "pt"), ("pt_BR", "pt"), ("fr_CA", "fr"), ("en_GB", "en"), ("sn", "en")]
)
def test_whose_language_is_not_there_reads_english(given_language: str, read: str) -> None:
    assert language_of(given_language) == read


def worst_incident(text: str) -> tuple[Incident, Proposal]:
    """An incident of which every word that comes from outside, and from a careless configuration, is `text`."""
    incident = Incident(
        id="inc-" + "f" * 16,
        index=1,
        rule="r",
        key=(),
        title=text,
        summary=text,
        severity=text,
        reason=f"r: {text}",
        opened_at=NOW,
        policy_version="1",
        policy_digest="d",
    )
    consultation = Consultation(2, NOW, "DIAGNOSED", 3, {"summary": text}, "0.87")
    incident.consultations.append(consultation)
    people = [f"somebody-{n}" for n in range(30)]
    body = {"title": text, "risk": text, "quorum": 2, "approvers": people}
    proposal = Proposal(4, incident.id, 0, body, "", NOW, NOW, NOW, decided_by=text)
    return incident, proposal


def notices(text: str, reader: Recipient) -> Iterator[str]:
    """One text of every kind that a notice may carry."""
    incident, proposal = worst_incident(text)
    for stage in NEWS:
        yield wording.news(incident, proposal, stage, f"engineer:{text}", text, reader)
        yield wording.news(incident, None, stage, "policy", text, reader)
    now = NOW + timedelta(days=99)
    incident.lost = 1
    yield wording.escalated(incident, now, reader)
    yield wording.reminder(incident, now, reader)
    proposal.result = "UNRESOLVED"
    incident.proposals.append(proposal)
    yield wording.reminder(incident, now, reader)
    yield wording.asked(incident, [text] * 30, reader)
    yield wording.nothing_proposed(incident, [words("policy: recorded", text=text)] * 9, reader)
    yield wording.nothing_proposed(incident, [], reader)
    yield wording.still_missing(proposal, set(), reader.language)
    for stage in ("HALTED", "RESUMED"):
        yield wording.halted(stage, f"engineer:{text}", now, text, reader)
    for key in ("digest", "digest of news", "heartbeat missing", "heartbeat back", "suspended", "opted out"):
        yield phrase(reader.language, key, **dict.fromkeys(placeholders(PHRASES[key]["en"]), text))


def stored(template: object) -> Stored:
    assert template in TEMPLATES
    t = next(t for t in TEMPLATES if t == template)
    return Stored("HX" + "0" * 32, t.friendly_name, t.carrier_language, t.sample_variables(), t.types(), NOW)


def rendered(stem: str, reader: Recipient, variables: Mapping[str, str], token: str | None) -> str:
    """As WhatsApp would show it; the stand-in's rules, which share nothing with ours, must take it."""
    template = template_for(stem, reader.language)
    values = template.numbered(carrier_wording.values_for(template, variables, token))
    checked = rules.check_variables(json.dumps(values), stored(template))
    assert not isinstance(checked, Refusal), checked
    shown = rules.render(stored(template), checked)
    assert not isinstance(shown, Refusal), shown
    return shown[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "text", [WORST, "x", "", "é" * 5000, "\U0001f525" * 900], ids=["worst", "x", "none", "é", "fire"]
)
def test_every_text_with_the_worst_values_keeps_whatsapps_rules(language: str, text: str) -> None:
    reader = READERS[language]
    assert all(rules.check_content({"language": t.carrier_language, **parts(t)}) is None for t in TEMPLATES)
    for said in notices(text, reader):
        shown = rendered(NOTICE.stem, reader, {"text": said, "reference": "inc-7f3a9c0012, ledger 124:9f3c21ab"}, None)
        assert "evil.example" not in shown
        assert "inc-7f3a9c0012, ledger 124:9f3c21ab" in shown  # whatever is cut, the witness is not
    drill = wording.drill("drill-7f3a9c", text, NOW, reader)
    shown = rendered(OPENED.stem, reader, {**drill, "code": "7K3P"}, TOKEN)
    marked = [line for line in shown.splitlines() if re.search("DRILL|drill|EXERC|exerc", line)]
    assert len(marked) >= 6
    incident, proposal = worst_incident(text)
    asked = wording.opened(incident, proposal.body, NOW + timedelta(minutes=15), reader)
    shown = rendered(OPENED.stem, reader, {**asked, "code": "7K3P"}, TOKEN)
    assert "*A 7K3P*" in shown
    assert wording.local(reader, NOW + timedelta(minutes=15)) in shown


def parts(template: object) -> dict[str, object]:
    t = next(t for t in TEMPLATES if t == template)
    return {"friendly_name": t.friendly_name, "variables": t.sample_variables(), "types": t.types()}


@settings(max_examples=40)
@given(st.text(max_size=300), st.sampled_from(LANGUAGES))
def test_no_value_breaks_any_text(text: str, language: str) -> None:
    for said in notices(text, READERS[language]):
        rendered(NOTICE.stem, READERS[language], {"text": said, "reference": ""}, None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_is_whole_on_the_phone(language: str) -> None:
    for key in REPLIES:
        said = phrase(language, key, **dict.fromkeys(placeholders(PHRASES[key]["en"]), "x"))
        shown = carrier_wording.reply_text({"text": said, "reference": "inc-7f3a9c0012"})
        assert "…" not in shown, key
        assert "[number]" not in shown, key
        assert "[link]" not in shown, key


async def test_people_are_answered_in_their_language() -> None:
    governed = Governed()
    people = governed.desk.charter.people
    assert isinstance(people, dict)
    for name, reader in (("tendai", READERS["pt"]), ("ruth", READERS["fr"])):
        recipient = replace(people[name].recipient, language=reader.language, timezone=reader.timezone)
        people[name] = replace(people[name], recipient=recipient)
    await governed.governor.start()
    await governed.hear("tendai", "status")
    assert governed.told("tendai")[-1] == "Nenhum incidente aberto."
    await governed.hear("ruth", "bonjour")
    assert governed.told("ruth")[-1].startswith("Je prends :")
    await governed.fire()
    question = governed.question("tendai")
    await governed.hear("tendai", "Rejeitar", payload=f"reject.{question.token}")
    await governed.hear("tendai", "Aprovar", payload=f"approve.{question.token}")
    assert "Não contou: já rejeitado por" in governed.told("tendai")[-1]
    (refused,) = governed.entries("REFUSED")
    assert refused.reason.startswith("already rejected")  # the ledger is read in one language
    await governed.hear("ruth", "HALT la base migre")
    assert governed.told("ruth")[-1].startswith("Arrêté : rien n'est exécuté")
    assert governed.told("tendai")[-1].startswith("HALTED (parado) por ruth")


def test_times_are_the_readers_own() -> None:
    incident, _ = worst_incident("x")
    now = NOW + timedelta(hours=1)
    assert "since 06:00 -03" in wording.reminder(incident, now, READERS["en"])
    assert "desde as 11:00 CAT" in wording.reminder(incident, now, READERS["pt"])
    assert "depuis 10:00 WAT" in wording.reminder(incident, now, READERS["fr"])


async def test_each_person_reads_their_own_language_and_clock_and_the_ledger_english() -> None:
    governed = Governed()
    people = governed.desk.charter.people
    assert isinstance(people, dict)
    for name, reader in (("tendai", READERS["pt"]), ("ruth", READERS["fr"])):
        recipient = replace(people[name].recipient, language=reader.language, timezone=reader.timezone)
        people[name] = replace(people[name], recipient=recipient)
    await governed.governor.start()
    await governed.fire()
    await governed.after(300)
    (climbed,) = governed.told("ruth")[-1:]
    assert "personne n'a décidé" in climbed
    assert "depuis 10:00 WAT" in climbed
    await governed.after(3600)
    assert any("ninguém decidiu a tempo" in text for text in governed.told("tendai"))
    assert any("personne n'a décidé à temps" in text for text in governed.told("ruth"))
    reminded = governed.entries("REMINDED")
    assert reminded
    assert all(entry.reason.startswith("Still open for") for entry in reminded)


# --- links ----------------------------------------------------------------------------------------------------------

ORIGINS = frozenset({"https://runbooks.example.org", "http://grafana.internal:3000"})


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://runbooks.example.org/checkout?a=b#c", True),
        ("https://runbooks.example.org", True),
        ("http://grafana.internal:3000/d/abc/checkout_2?from=now-1h", True),
        ("http://runbooks.example.org/x", False),  # another scheme
        ("https://runbooks.example.org:444/x", False),
        ("https://runbooks.example.org.evil.example/x", False),
        ("https://evil.example/https://runbooks.example.org/", False),
        ("https://runbooks.example.org@evil.example/", False),
        ("https://evil.example\\@runbooks.example.org/", False),
        ("https://runbooks.example.org/\nhttps://evil.example", False),
        ("https://runbooks.example.org/\u202ex", False),
        ("https://runbооks.example.org/x", False),  # two letters of another script
        ("https://runbooks.example.org/{{1}}", False),
        ("javascript:alert(1)", False),
        ("//runbooks.example.org/x", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_a_link_leads_where_the_configuration_says_or_is_dropped(link: str, kept: bool) -> None:
    assert carrier_wording.allowed_links([link, link], ORIGINS) == (link if kept else "")


def test_links_are_shown_whole_or_not_at_all() -> None:
    short, long = "https://runbooks.example.org/a", "https://runbooks.example.org/" + "b" * 100
    reader = READERS["en"]
    incident, proposal = worst_incident("x")
    asked = wording.opened(incident, proposal.body, NOW, reader, f"{short} {long}")
    assert f"Runbook: {short}\n" in rendered(OPENED.stem, reader, {**asked, "code": "7K3P"}, TOKEN)
    asked["links"] = f"{long}c {short}"
    assert f"Runbook: {short}\n" in rendered(OPENED.stem, reader, {**asked, "code": "7K3P"}, TOKEN)
    asked["links"] = "evil"
    assert "Runbook: none on record\n" in rendered(OPENED.stem, reader, {**asked, "code": "7K3P"}, TOKEN)


async def test_a_runbook_of_the_alert_reaches_the_phone_if_its_origin_is_listed() -> None:
    runbook = "https://runbooks.example.org/disk"
    listed: list[tuple[frozenset[str], str]] = [
        (frozenset({"https://runbooks.example.org"}), runbook),
        (frozenset(), ""),
    ]
    for origins, shown in listed:
        governed = Governed()
        governed.governor.reload(replace(governed.desk.charter, link_origins=origins))
        await governed.governor.start()
        await governed.fire(annotations={"runbook_url": runbook, "dashboard_url": "https://x.example"})
        (question,) = [m for m in governed.outside.messages if m.recipient.name == "tendai"]
        assert question.variables["links"] == shown
