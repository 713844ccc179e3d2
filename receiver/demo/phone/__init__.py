"""A stand-in for Twilio's WhatsApp, and the phones behind it, used by the demo and by tests.

It imports nothing from the rest of the project: it signs, checks and refuses by itself, so that it cannot share a
mistake with what it stands in for.
"""

from .calls import Call
from .handset import Phone
from .network import Fault, Faults, PhoneNetwork
from .shapes import Button, Exchange, Message, Refusal, Template, WebhookCall

__all__ = [
    "Button",
    "Call",
    "Exchange",
    "Fault",
    "Faults",
    "Message",
    "Phone",
    "PhoneNetwork",
    "Refusal",
    "Template",
    "WebhookCall",
]
