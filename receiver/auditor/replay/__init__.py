"""Policy decides again: every verdict of a log from what stands in it, and each that comes out otherwise."""

from receiver.auditor.replay.difference import Difference
from receiver.auditor.replay.replaying import Replay

__all__ = ["Difference", "Replay"]
