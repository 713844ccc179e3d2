"""A notice of last resort, through apprise: to e-mail, Slack, Telegram, Teams and whatever else it knows.

For whoever no message and no call reaches. It asks for no answer and takes none. apprise is an extra of the
distribution, counterfoil[notices]; its addresses hold passwords, so they are secrets and stand in no message of ours.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

from receiver.authorization.wording import clean
from receiver.papers import NotSent, OutgoingMessage, Sent

NOTICE_SECONDS = 20.0  # for all addresses of a person together
THREADS = 4  # apprise waits for its servers, and some of them answer never
TEXT_UNITS = 700
AGAIN_SECONDS = 60.0
MISSING = "apprise is missing: install counterfoil[notices]"


def addresses(text: str) -> tuple[str, ...]:
    """The addresses of a line with white space between them."""
    return tuple(text.split())


def installed() -> bool:
    return find_spec("apprise") is not None


def unreadable(given: Sequence[str]) -> list[int]:
    """Which of `given`, counted from 1, apprise does not know how to write to. Needs apprise."""
    import apprise

    return [at for at, address in enumerate(given, 1) if not apprise.Apprise().add(address)]


class Notices:
    """A carrier. seconds: a person's addresses may take so long together."""

    def __init__(self, seconds: float = NOTICE_SECONDS) -> None:
        self.seconds = seconds
        # Of its own, so that a server that never answers takes no thread from anybody else.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="notice")

    def close(self) -> None:
        """Take no more. What is being written is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Write to every address of the person; sent where one of them took it. Never raises."""
        given = message.recipient.notices
        if not given:
            return NotSent("no_number", "the person and the tenant have no addresses for notices")
        if not installed():
            return NotSent("no_channel", MISSING)
        said = message.variables.get("text") or message.variables.get("summary", "")
        text = clean(said, TEXT_UNITS, message.recipient.language)
        reference = clean(message.variables.get("reference", ""), 40)
        body = f"{text} ({reference})" if reference else text
        loop = asyncio.get_running_loop()
        writing = [loop.run_in_executor(self._threads, _write, address, body) for address in given]
        done, late = await asyncio.wait(writing, timeout=self.seconds)
        for one in late:
            one.cancel()
        taken = sum(one.exception() is None and one.result() for one in done)
        if taken:
            return Sent(f"notice-{message.message_id}", hashlib.sha256(body.encode()).hexdigest(), body)
        detail = f"none of {len(given)} addresses took the notice, {len(late)} within {self.seconds:g} s not at all"
        return NotSent("unreachable", detail, AGAIN_SECONDS)


def _write(address: str, body: str) -> bool:
    import apprise

    # The service itself and not `Apprise.notify`, which keeps threads of its own for ever.
    service = apprise.Apprise.instantiate(address)
    return service is not None and bool(service.notify(title="Counterfoil", body=body))
