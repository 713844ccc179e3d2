"""A connection to Twilio: one client of the SDK, made when it is first needed, and what comes of asking through it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import aiohttp

from receiver.authorization import twilio_http
from receiver.papers import NotSent

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

T = TypeVar("T")
SEND_SECONDS = 10.0  # for the whole of a send, the lookup of a template included


class Unsendable(Exception):
    """The message itself is wrong; no carrier could send it."""


class Connection:
    """base_url: another origin for all of Twilio's hosts, as a test or a proxy needs it; None for Twilio itself."""

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        session: Callable[[], aiohttp.ClientSession],
        base_url: str | None = None,
        timeout_seconds: float = SEND_SECONDS,
    ) -> None:
        self.sid = account_sid
        self._auth_token = auth_token
        self._session = session
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def client(self) -> Client:
        async with self._lock:
            if self._client is None:
                # In a thread, because importing the SDK takes longer than anyone else on this loop should wait.
                self._client = await asyncio.to_thread(
                    twilio_http.make_client, self.sid, self._auth_token, self._session, self._base_url
                )
            return self._client

    async def guarded(self, ask: Callable[[], Awaitable[T]]) -> T | NotSent:
        """What came of `ask`, in our words. Never raises; takes at most the time limit."""
        from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]

        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await ask()
        except TwilioException as error:
            return twilio_http.not_sent_from(error)
        except TimeoutError:
            return NotSent("unreachable", f"Twilio did not answer within {self._timeout_seconds:g} s", 10.0)
        except (aiohttp.ClientError, OSError) as error:
            return NotSent("unreachable", f"Twilio cannot be reached: {type(error).__name__}: {error}"[:300], 10.0)
        except Unsendable as error:
            return NotSent("rejected", str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # The SDK indexes into whatever JSON comes back; an answer of another shape surfaces as one of these.
            return NotSent(
                "unreachable", f"Twilio's answer cannot be read: {type(error).__name__}: {error}"[:300], 10.0
            )
