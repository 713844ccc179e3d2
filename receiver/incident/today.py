"""What one tenant has used up of limits that hold for a day, by the book: a restart counts on from it. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from receiver.incident.agenda import CONSULT_SECONDS
from receiver.incident.book import Book
from receiver.papers import WHATSAPP


def sent_on(book: Book, day: date) -> int:
    """Messages over WhatsApp that the carrier took on `day`, in UTC; of two copies of one, one."""
    return sum(
        bool(message.sids) and message.channel == WHATSAPP and message.addressed_at.date() == day
        for message in book.messages.values()
    )


def paid_on(book: Book, day: date) -> Decimal:
    """US dollars for the consultations that began on `day`, in UTC, as far as their end says what they cost."""
    asked = timedelta(seconds=CONSULT_SECONDS)
    return sum(
        (
            Decimal(str(consultation.body["usage"]["cost_usd"]))
            for incident in book.incidents.values()
            for consultation in incident.consultations
            if "usage" in consultation.body and (consultation.until - asked).date() == day
        ),
        start=Decimal(0),
    )
