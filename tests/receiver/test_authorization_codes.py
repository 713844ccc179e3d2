"""Tokens, codes, and how an answer is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.authorization import codes
from receiver.authorization.codes import Answer, parse_answer

SECRET = b"a secret of this installation"
TENANTS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=30)


def test_a_code_belongs_to_one_person_and_one_proposal():
    ours = codes.code(SECRET, "default", 9, "tendai")
    others = {
        codes.code(SECRET, "default", 9, "rudo"),
        codes.code(SECRET, "default", 10, "tendai"),
        codes.code(SECRET, "other", 9, "tendai"),
        codes.code(b"another secret", "default", 9, "tendai"),
    }
    assert ours not in others
    assert ours == codes.code(SECRET, "default", 9, "tendai")
    assert len(ours) == codes.CODE_LENGTH
    assert set(ours) <= set(codes.ALPHABET)


def test_codes_use_the_whole_alphabet_about_evenly():
    letters = "".join(codes.code(SECRET, "default", index, "tendai") for index in range(2_500))
    counts = [letters.count(letter) for letter in codes.ALPHABET]
    assert min(counts) > 300
    assert max(counts) < 500


def test_the_fields_of_a_code_cannot_run_into_each_other():
    assert codes.code(SECRET, "a", 11, "x") != codes.code(SECRET, "a1", 1, "x")
    assert codes.code(SECRET, "a", 1, "1x") != codes.code(SECRET, "a", 11, "x")


@given(TENANTS, st.integers(min_value=0, max_value=10**12))
def test_a_token_leads_back_to_its_delivery_and_to_no_other(tenant, index):
    token = codes.token(SECRET, f"{tenant}-{index}")
    assert len(token) <= 40
    assert codes.delivery_of(SECRET, tenant, token) == index
    assert codes.delivery_of(b"other", tenant, token) is None
    assert codes.delivery_of(SECRET, tenant + "x", token) is None
    forged = f"{index + 1}-{token.partition('-')[2]}"
    assert codes.delivery_of(SECRET, tenant, forged) is None
    assert codes.split_message_id(f"{tenant}-{index}") == (tenant, index)


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_token_by_accident(text):
    assert codes.delivery_of(SECRET, "default", text) is None


@pytest.mark.parametrize(
    "message_id", ["", "default", "-1", "default-", "default-01", "default-x", "a b-1", "a-" + "9" * 16]
)
def test_a_message_id_of_another_shape_has_no_token(message_id):
    assert codes.split_message_id(message_id) is None
    with pytest.raises(ValueError, match="message id"):
        codes.token(SECRET, message_id)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("A 7K3P", Answer("approve", code="7K3P")),
        (" a  7k3p. ", Answer("approve", code="7K3P")),
        ("R: 7K3P", Answer("reject", code="7K3P")),
        ("reject 7k3p!", Answer("reject", code="7K3P")),
        ("Approve-7K3P", Answer("approve", code="7K3P")),
        ("Ａ ７Ｋ３Ｐ", Answer("approve", code="7K3P")),
        ("A\u200e 7K3P", Answer("approve", code="7K3P")),
        ("A7K3P", Answer("other")),
        ("A 7K3", Answer("other")),
        ("A 7K3P5", Answer("other")),
        ("A 7K3P please", Answer("other")),
        ("X 7K3P", Answer("other")),
        ("7K3P", Answer("other")),
        ("HALT", Answer("halt")),
        ("halt!", Answer("halt")),
        ("Halt we are migrating", Answer("halt")),
        ("halting problem", Answer("other")),
        ("RESUME", Answer("resume")),
        ("resume now", Answer("other")),
        ("Status.", Answer("status")),
        ("yes", Answer("other")),
        ("Yes!", Answer("other")),
        ("ok", Answer("other")),
        ("OK", Answer("other")),
        ("approve", Answer("other")),
        ("Approve", Answer("other")),
        ("reject", Answer("other")),
        ("on it", Answer("other")),
        ("a", Answer("other")),
        ("approve.12-abc", Answer("other")),
        ("", Answer("other")),
    ],
)
def test_what_a_text_means(body, answer):
    assert parse_answer(body, None) == answer


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        ("approve.12-abc", Answer("approve", token="12-abc")),
        ("reject.12-abc", Answer("reject", token="12-abc")),
        ("onit.12-abc", Answer("onit", token="12-abc")),
        ("halt.12-abc", Answer("other")),
        ("approve", Answer("other")),
        ("approve.", Answer("other")),
        ("APPROVE.12-abc", Answer("other")),
        ("approve.12-abc\n", Answer("other")),
        ("approve." + "a" * 41, Answer("other")),
        ("", Answer("other")),
    ],
)
def test_a_tap_is_read_by_its_payload_alone(payload, answer):
    assert parse_answer("A 7K3P", payload) == answer


@given(st.text(), st.none() | st.text())
def test_anything_is_read_as_something(body, payload):
    answer = parse_answer(body, payload)
    assert answer.verb in ("approve", "reject", "onit", "halt", "resume", "status", "other")
    if answer.verb in ("approve", "reject"):
        assert answer.code or answer.token


@given(st.text(max_size=12))
def test_only_the_code_itself_matches(text):
    assert codes.same("7K3P", text) == (text.strip().upper() == "7K3P")


def test_an_address_is_comparable_and_not_readable():
    key = b"key"
    one = codes.address_hmac(key, "whatsapp:+263771234567")
    assert one == codes.address_hmac(key, " WhatsApp:+263771234567 ")
    assert one != codes.address_hmac(key, "whatsapp:+263771234568")
    assert one != codes.address_hmac(b"other", "whatsapp:+263771234567")
    assert len(one) == 64
    assert "263771234567" not in one
