"""A stand-in for Anthropic's Messages API, used by the demo and by tests. It imports nothing from the rest of us.

It is stricter than kind: what the vendor answers with 400 gets 400 here too, since a test against a stand-in that takes
everything proves nothing. Its answers are built from the evidence and the schema of the request.
"""

from .stand_in import Call, ClaudeStandIn, Fault

__all__ = ["Call", "ClaudeStandIn", "Fault"]
