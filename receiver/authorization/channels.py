"""The ways to a person: each message goes by the channel that stands in its ADDRESSED."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from receiver.papers import NotSent, OutgoingMessage, Sent


class Channel(Protocol):
    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Hand one message to the carrier. Never raises."""


class Channels:
    """A carrier that is several: channel → the one that serves it. What is not set up takes nothing, and says so."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        channel = self._channels.get(message.channel)
        if channel is None:
            return NotSent("no_channel", f"{message.channel} is not set up in the configuration")
        return await channel.send(message)
