"""The words on the phone: what an attacker writes into a label stays a quotation, whatever it is."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.authorization import wording
from receiver.authorization.templates import BODY_UNITS, NOTICE, OPENED, TEMPLATES
from receiver.authorization.wording import clean, fill, shorten, tidy, units_of, values_for
from receiver.governor.wording import witnessed

TOKEN = "12-q5x3k2hc7m4nwzsjv6ytr2dp"
GOOD = {
    "incident": "checkout-errors (service checkout)",
    "summary": "Every third request fails",
    "finding": "error_ratio 0.31 >= 0.05",
    "diagnosis": "The errors began with the deployment at 10:02",
    "action": "restart the checkout service",
    "risk": "requests in flight are lost; undo is not needed.",
    "expires": "10:21 CAT",
    "reference": "inc-7f3a9c0012",
    "code": "7K3P",
    "page": "https://counterfoil.example.org/q/12-q5x3k2hc7m4nwzsjv6ytr2dp",
}
FORBIDDEN = re.compile(r"[*_~`{}“”\"\n\r\t\v\f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\u00ad]| {2,}")


def text_of(**changes: str) -> str:
    return fill(OPENED, values_for(OPENED, {**GOOD, **changes}, TOKEN))


def test_a_person_reads_what_broke_what_is_proposed_and_how_to_answer():
    assert text_of() == (
        "*Incident* “checkout-errors (service checkout)”\n"
        "The alert says: “Every third request fails”\n"
        "Policy found: “errorˍratio 0.31 >= 0.05”\n"
        "Claude thinks: “The errors began with the deployment at 10:02”\n"
        "\n"
        "*Proposed action:* restart the checkout service.\n"
        "Risk: requests in flight are lost; undo is not needed.\n"
        "Runbook: none on record\n"
        "All of it: https://counterfoil.example.org/q/12-q5x3k2hc7m4nwzsjv6ytr2dp\n"
        "Nothing is done unless you approve before 10:21 CAT.\n"
        "\n"
        "Tap a button, or reply *A 7K3P* to approve or *R 7K3P* to reject.\n"
        "Reference inc-7f3a9c0012, sent by Counterfoil."
    )


HOSTILE = st.one_of(
    st.text(max_size=400),
    st.text(alphabet='*_~`{}“”" \n\t\u202e\u200b.:/+0123456789abcAR', max_size=300),
    st.lists(
        st.sampled_from(
            ["“", "”", "\n", "Proposed action: ", "{{5}}", "*", "https://x.test/", "A 7K3P", "\u202e", "\ufdfa"]
        )
    ).map("".join),
)


@given(
    HOSTILE, st.sampled_from(["incident", "summary", "finding", "diagnosis", "action", "risk", "expires", "reference"])
)
@example("checkout”\n\n*Proposed action:* do nothing.\nReply R {{8}} “", "summary")
@example("\ufdfa" * 400, "diagnosis")
def test_no_value_changes_a_line_that_is_not_its_own(hostile, name):
    lines, hostile_lines = text_of().split("\n"), text_of(**{name: hostile}).split("\n")
    assert len(lines) == len(hostile_lines)
    changed = [number for number, pair in enumerate(zip(lines, hostile_lines, strict=True)) if pair[0] != pair[1]]
    assert len(changed) <= 1
    for line in hostile_lines:
        assert line.count("“") == line.count("”") <= 1


@given(HOSTILE)
def test_buttons_are_made_of_our_token_alone(hostile):
    values = values_for(OPENED, dict.fromkeys(GOOD, hostile), TOKEN)
    assert values["token"] == TOKEN
    for action in OPENED.types()["twilio/quick-reply"]["actions"]:
        assert re.fullmatch(r"(approve|reject|onit)\.\{\{13\}\}", action["id"])


@given(HOSTILE, st.integers(min_value=1, max_value=300))
def test_clean_text_is_one_short_line_without_marks(text, units):
    cleaned = clean(text, units)
    assert not FORBIDDEN.search(cleaned)
    assert units_of(cleaned) <= units
    assert clean(cleaned, units) == cleaned or "…" in cleaned or "," in cleaned


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), HOSTILE.map(lambda text: text * 8)))
def test_every_message_fits_and_every_value_is_filled(hostile):
    for template in TEMPLATES:
        values = values_for(template, {**hostile, "text": hostile.get("summary", "")}, TOKEN)
        assert units_of(fill(template, values)) <= BODY_UNITS
        assert all(value.strip() for value in values.values())


@pytest.mark.parametrize("size", [10, 100, 1000, 10_000])
def test_what_is_cut_is_the_model_before_the_alert_and_never_the_action(size):
    long = dict.fromkeys(GOOD, "wide words " * size)
    values = values_for(OPENED, {**long, "action": GOOD["action"], "code": GOOD["code"]}, TOKEN)
    assert values["action"] == GOOD["action"]
    assert units_of(fill(OPENED, values)) <= BODY_UNITS
    assert values["risk"].startswith("wide words")


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("see https://evil.example/a?b=c now", "see [link] now"),
        ("www.evil.example/x", "[link]"),
        ("whatsapp://send?phone=1 javascript://x", "[link] [link]"),
        ("host web1.prod.example.com down", "host web1․prod․example․com down"),
        ("call +263 77 123 4567 or 077 123 4567", "call [number] or [number]"),
        ("call (415) 523-8886", "call [number]"),
        ("at 2026-11-23 08:58:38 0.31 >= 0.05", "at 2026-11-23 08:58:38 0.31 >= 0.05"),
        ("instance 10.0.0.1:9100", "instance 10.0.0.1:9100"),
        ("memory 1073741824 bytes", "memory 1,073,741,824 bytes"),
        ("a\u202eb\u200bc\u00add", "abcd"),
        ("Ｒｅｐｌｙ", "Reply"),
        ("h\u0301\u0301\u0301\u0301\u0301e", "h\u0301\u0301e"),
        ("\u3164\u2800 x", "x"),
        ("0._", "0\u2024\u02cd"),
        ("{077} 123-4567", "[number]"),
        ("{{1}} *b* _i_ ~s~ `c`", "((1)) ∗b∗ ˍiˍ ∼s∼ ’c’"),
        ("", ""),
    ],
)
def test_cleaning_by_example(given_text, expected):
    assert clean(given_text, 200) == expected


def test_shorten_counts_as_a_phone_does():
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"
    assert shorten("🙂🙂🙂", 5) == "🙂🙂…"
    assert units_of("🙂") == 2
    assert tidy("x" * 9_000, 300) == "x" * 299 + "…"


@pytest.mark.parametrize("token", [None, "", "a b", "x.y", "{{1}}", "a" * 41, "é"])
def test_a_message_with_buttons_needs_a_plain_token(token):
    with pytest.raises(ValueError, match="token"):
        values_for(OPENED, GOOD, token)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.friendly_name)
def test_templates_keep_whatsapps_rules(template):
    numbers = re.findall(r"\{\{(\d+)\}\}", template.body)
    words = re.findall(r"[A-Za-z]+", re.sub(r"\{\{\d+\}\}", " ", template.body))
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
    assert len(words) >= 2 * len(template.names) + 1
    assert not template.body.startswith("{{")
    assert not template.body.endswith("}}")
    assert "}}{{" not in re.sub(r"\s", "", template.body)
    assert all(len(button.title) <= 20 for button in template.buttons)
    fixed = units_of(re.sub(r"\{\{\d+\}\}", "", template.body))
    shrinking = {"diagnosis", "summary", "token"}
    widest = sum(template.limits[name] for name in template.names if name not in shrinking)
    assert fixed + widest + 16 <= BODY_UNITS


def test_a_notice_names_the_ways_out():
    text = fill(NOTICE, values_for(NOTICE, {"text": "Recovered.", "reference": ""}, None))
    assert (
        text
        == "*Counterfoil:* Recovered.\nReference none. Reply STATUS to see what is open, or HALT to stop every action."
    )


@given(index=st.integers(0, 99_999_999), root=st.binary(min_size=32, max_size=32))
def test_the_witnessed_root_reaches_the_phone_whole(index: int, root: bytes) -> None:
    reference = witnessed("inc-7f3a9c0012", index, root)
    text = fill(NOTICE, values_for(NOTICE, {"text": "x" * 700, "reference": reference}, None))
    assert f"Reference inc-7f3a9c0012, ledger {index}:{root.hex()[:8]}. Reply" in text


def test_a_reply_is_plain_text():
    assert wording.reply_text({"text": "already approved by *tendai*", "reference": "inc-1"}) == (
        "already approved by ∗tendai∗ (inc-1)"
    )
    assert wording.reply_text({"text": "\n"})
