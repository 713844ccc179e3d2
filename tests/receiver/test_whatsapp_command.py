"""`counterfoil whatsapp`, against the stand-in: what it sets at Twilio, what it reads back, and its exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from receiver.__main__ import counterfoil
from receiver.app import Service
from receiver.authorization import approvals, linting
from receiver.authorization.templates import OPENED, OPENED_PT, TEMPLATES, Button, Template, templates_for
from receiver.authorization.whatsapp import WhatsApp
from receiver.commands.init import PLACEHOLDER_SENDER, write_folder
from receiver.configuration import load_config
from receiver.demo.phone import PhoneNetwork
from receiver.metrics import Metrics

ACCOUNT, SENDER, TOKEN = "AC" + "1" * 32, "whatsapp:+14155550199", "f" * 32
HERE = "https://counterfoil.example.org/twilio/message"
ALL = [template.friendly_name for template in TEMPLATES]
WAITS = {"first_seconds": 0.0, "every_seconds": 0.05, "again_seconds": 0.05}
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def network() -> AsyncIterator[PhoneNetwork]:
    network = PhoneNetwork(account_sid=ACCOUNT, auth_token=TOKEN, sender=SENDER, sandbox=False)
    await network.start()
    yield network
    await network.stop()


@pytest.fixture
def config(tmp_path: Path, network: PhoneNetwork) -> Path:
    """What `init` wrote, with the stand-in as its Twilio."""
    write_folder(tmp_path)
    path = tmp_path / "counterfoil.yml"
    edit(path, "AC" + "0" * 32, ACCOUNT)
    edit(path, f'"{PLACEHOLDER_SENDER}"', f'"{SENDER}"\n  base_url: "{network.url}"')
    (tmp_path / "secrets/twilio.token").write_text(TOKEN, encoding="utf-8")
    return path


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text, before
    path.write_text(text.replace(before, after), encoding="utf-8")


def without(path: Path, key: str) -> None:
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(key)]
    path.write_text("\n".join(kept), encoding="utf-8")


@pytest.fixture
def run(config: Path) -> Run:
    async def run(*words: str) -> Result:
        call = ["--config", str(config), "whatsapp", *words]
        return await asyncio.to_thread(CliRunner().invoke, counterfoil, call)

    return run


# --- where answers go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sender", "service"])
async def test_setup_sets_the_address_and_reads_it_back(
    network: PhoneNetwork, config: Path, run: Run, kind: str
) -> None:
    if kind == "service":
        edit(config, f'"{SENDER}"', f'"{network.service_sid}"')
        network.use_webhook_on_number = True
    before = await run("setup")
    assert before.exit_code == 1
    assert f"{HERE}  (HTTP POST)" in before.output
    assert "NOT set at Twilio" in before.output
    assert network.webhook == ("", "POST")  # without --set nothing is changed

    done = await run("setup", "--set")
    assert (done.exit_code, network.webhook) == (0, (HERE, "POST"))
    assert f"set at Twilio, as read back from the {kind}" in done.output
    assert not network.use_webhook_on_number
    told = json.loads((await run("setup", "--json")).output)
    assert (told["found"], told["is_set"], told["kind"]) == (HERE, True, kind)
    posts = [exchange for exchange in network.exchanges if exchange.method == "POST"]
    await run("setup", "--set")  # what is right already is left alone
    assert [exchange for exchange in network.exchanges if exchange.method == "POST"] == posts


async def test_setup_says_where_answers_go_instead(network: PhoneNetwork, run: Run) -> None:
    network.webhook = ("https://elsewhere.example/hook", "GET")
    result = await run("setup")
    assert result.exit_code == 1
    assert "https://elsewhere.example/hook (HTTP GET)" in result.output


async def test_the_sandbox_has_no_api_and_setup_says_what_to_paste_where(
    network: PhoneNetwork, config: Path, run: Run
) -> None:
    edit(config, f'"{SENDER}"', '"whatsapp:+14155238886"')
    result = await run("setup")
    assert result.exit_code == 0
    assert HERE in result.output
    assert "Sandbox settings" in result.output
    assert (await run("setup", "--set")).exit_code == 1  # it was asked to, and cannot
    assert json.loads((await run("setup", "--json")).output)["is_set"] is None
    assert network.webhook == ("", "POST")


async def test_a_sender_that_is_not_the_accounts_is_named(config: Path, run: Run) -> None:
    edit(config, f'"{SENDER}"', '"whatsapp:+14155550177"')
    result = await run("setup")
    assert result.exit_code == 2
    assert "has no WhatsApp sender whatsapp:+14155550177" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("words", [("setup",), ("templates", "status"), ("templates", "push")])
async def test_a_wrong_token_and_a_silent_twilio_are_one_line(
    network: PhoneNetwork, config: Path, run: Run, words: Sequence[str]
) -> None:
    (config.parent / "secrets/twilio.token").write_text("wrong", encoding="utf-8")
    wrong = await run(*words)
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1)
    assert "twilio.auth_token_file" in wrong.output
    await network.stop()
    silent = await run(*words)
    assert (silent.exit_code, silent.output.count("\n")) == (1, 1)
    assert "Twilio cannot be reached" in silent.output


# --- templates ------------------------------------------------------------------------------------------------------


async def test_push_creates_and_submits_what_is_missing_and_nothing_twice(network: PhoneNetwork, run: Run) -> None:
    empty = json.loads((await run("templates", "status", "--json")).output)["templates"]
    assert [(row["name"], row["status"]) for row in empty] == [(name, "missing") for name in ALL]
    assert (await run("templates", "status")).exit_code == 1

    pushed = await run("templates", "push")
    assert pushed.exit_code == 0, pushed.output
    assert sorted(t.friendly_name for t in network.templates.values()) == sorted(ALL)
    submitted = {t.approval["name"]: (t.approval["category"], t.language) for t in network.templates.values()}
    assert submitted["counterfoil_opened_v1_pt"] == ("UTILITY", "pt_PT")  # WhatsApp has no plain Portuguese
    assert set(submitted) == set(ALL)
    again = await run("templates", "push")
    assert (again.exit_code, len(network.templates)) == (0, len(ALL))
    assert (await run("templates", "status")).exit_code == 1  # received is not approved

    for name in ALL:
        network.review(name, "approved")
    done = await run("templates", "status")
    assert done.exit_code == 0
    assert all(f"{name:<30}  approved" in done.output for name in ALL)


async def test_where_no_tap_can_be_heard_the_question_without_buttons_is_what_is_submitted(
    network: PhoneNetwork, config: Path, run: Run
) -> None:
    without(config, "public_url:")
    edit(config, "twilio:\n", "twilio:\n  poll: 10s\n")
    pushed = await run("templates", "push")
    assert pushed.exit_code == 0, pushed.output
    names = {template.friendly_name for template in templates_for(buttons=False)}
    assert {t.friendly_name for t in network.templates.values()} == names
    assert len(names & set(ALL)) == len(names) // 2  # a notice has no buttons anyway


async def test_a_rejection_is_told_with_its_reason(network: PhoneNetwork, run: Run) -> None:
    await run("templates", "push")
    network.review("counterfoil_opened_v1_fr", "rejected", "INVALID_FORMAT\x1b[2J")
    result = await run("templates", "push")
    assert result.exit_code == 1
    line = next(line for line in result.output.splitlines() if "opened_v1_fr" in line)
    assert "rejected" in line
    assert "INVALID_FORMAT" in line
    assert "\x1b" not in result.output


async def test_our_name_over_other_words_is_left_alone_and_named(network: PhoneNetwork, run: Run) -> None:
    await run("templates", "push")
    (ours,) = [t for t in network.templates.values() if t.friendly_name == OPENED.friendly_name]
    other = {"twilio/text": {"body": "Pay {{1}} at once, dear customer of ours, or lose it all."}}
    network.templates[ours.sid] = replace(ours, types=other)
    result = await run("templates", "push")
    assert result.exit_code == 1
    assert "other words" in result.output
    assert len(network.templates) == len(ALL)


async def test_lint_is_content_with_ours_and_asks_nobody(network: PhoneNetwork, run: Run) -> None:
    result = await run("templates", "lint")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"ok    {name}" for name in dict.fromkeys([*ALL, *(t.friendly_name for t in templates_for(buttons=False))])
    ]
    assert not network.exchanges


LONG = dict(OPENED.limits) | {"action": 500}
PLANTED: list[tuple[Template, str]] = [
    (replace(OPENED, stem="Counterfoil Opened"), "small letters"),
    (replace(OPENED, body=OPENED.body + " {{12}}"), "first or last"),
    (replace(OPENED, body="{{1}} " + OPENED.body), "first or last"),
    (replace(OPENED, body=OPENED.body.replace("{{1}}”", "{{1}} {{2}}”")), "side by side"),
    (replace(OPENED, body=OPENED.body.replace("{{4}}", "{{5}}")), "numbered from 1"),
    (replace(OPENED, body=OPENED.body.replace("\n\n", "\n\n\n")), "more than one empty line"),
    (replace(OPENED, body=OPENED.body.replace(" says", "     says")), "four spaces"),
    (replace(OPENED, body=OPENED.body + " word" * 200), "1 to 1024"),
    (replace(OPENED, limits=LONG), "with the longest values"),
    (replace(OPENED, body="a {{1}} b {{2}} c"), "too few"),
    (replace(OPENED, samples={**OPENED.samples, "risk": " "}), "has no sample"),
    (replace(OPENED, samples={**OPENED.samples, "risk": "a\nb"}), "holds a newline"),
    (replace(OPENED, samples={**OPENED.samples, "code": "far too long"}), "longer than"),
    (replace(OPENED, buttons=(*OPENED.buttons, Button("More", "onit"))), "more than 3 buttons"),
    (replace(OPENED, buttons=(OPENED.buttons[0], OPENED.buttons[0])), "the same title"),
    (replace(OPENED, buttons=(Button("Approve this very action", "approve"),)), "1 to 20"),
    (replace(OPENED, buttons=(Button("Do {{1}}", "approve"),)), "placeholder"),
    (replace(OPENED, buttons=(Button("Approve 👍", "approve"),)), "symbol"),
    (replace(OPENED_PT, buttons=(Button("Sim", "v" * 190),)), "the id of the button"),
]


@pytest.mark.parametrize(("template", "told"), PLANTED, ids=[told for _, told in PLANTED])
def test_lint_finds_what_whatsapp_would_refuse(template: Template, told: str) -> None:
    assert any(told in problem for problem in linting.problems(template))


async def test_push_submits_nothing_that_lint_finds_fault_with(
    network: PhoneNetwork, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(OPENED, body=OPENED.body + " {{12}}")
    monkeypatch.setattr("receiver.commands.whatsapp.templates_for", lambda *, buttons: (broken,))
    result = await run("templates", "push")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert not network.exchanges


# --- the running service ----------------------------------------------------------------------------------------------


def carrier(network: PhoneNetwork, session: aiohttp.ClientSession) -> WhatsApp:
    return WhatsApp(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        sender=SENDER,
        public_url="https://counterfoil.example.org",
        session=lambda: session,
        clock=network.clock,
        base_url=network.url,
    )


async def test_the_service_asks_at_its_start_and_again(
    network: PhoneNetwork, config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run("templates", "push")
    network.review(ALL[0], "approved")
    edit(config, ":9877", ":0")
    edit(config, ":9878", ":0")
    monkeypatch.setattr(approvals.watch_forever, "__kwdefaults__", WAITS)
    service = Service(load_config(config, {}))
    await service.start()
    try:

        async def shows(line: str) -> None:
            async with asyncio.timeout(10), aiohttp.ClientSession() as session:
                while True:
                    async with session.get(f"{service.private_url}/metrics") as answer:
                        if line in (await answer.text()).splitlines():
                            return
                    await asyncio.sleep(0.02)

        opened = 'counterfoil_template_approved{language="en",template="counterfoil_opened_v1"}'
        await shows(f"{opened} 1.0")
        await shows('counterfoil_template_approved{language="fr",template="counterfoil_notice_v1"} 0.0')
        network.review(ALL[0], "paused")  # WhatsApp may change its mind
        await shows(f"{opened} 0.0")
    finally:
        await service.stop()


async def test_a_twilio_that_does_not_say_leaves_the_metric_as_it_was(network: PhoneNetwork, run: Run) -> None:
    metrics = Metrics()
    await run("templates", "push")
    network.review(ALL[0], "approved")
    async with aiohttp.ClientSession() as session:
        whatsapp = carrier(network, session)
        assert await approvals.watch(whatsapp, metrics)
        await network.stop()
        assert not await approvals.watch(whatsapp, metrics)
    assert metrics.template_approved.labels("counterfoil_opened_v1", "en")._value.get() == 1
