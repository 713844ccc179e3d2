"""The trial balance of an export, as a table and for programs. Its form is part of the export's format. Pure."""

from __future__ import annotations

import json

from ledger.checkpoint import Checkpoint
from ledger.exporting.text import plain
from ledger.reconcile import Balance


def table(balance: Balance, head: Checkpoint) -> bytes:
    """For people: 64 columns, a line for each book and one for each outcome."""
    lines = [f"The trial balance of {plain(head.origin)}", f"{head.size} entries", f"root {head.root.hex()}", ""]
    lines.append(f"{'book':<28}{'opened':>12}{'settled':>12}{'open':>12}")
    for book in balance.books:
        lines.append(f"{book.book:<28}{book.opened:>12}{sum(book.settled.values()):>12}{book.outstanding:>12}")
        lines += [f"  {stage:<38}{number:>12}" for stage, number in book.settled.items()]
    lines += ["", "across books"]
    for equality in balance.across:
        sign = "=" if equality.holds else "DIFFERS FROM"
        lines.append(f"{equality.left} {equality.left_figure} {sign} {equality.right_figure} {equality.right}")
    lines += ["", "The books balance." if balance.balanced else "The books DO NOT BALANCE."]
    return ("\n".join(lines) + "\n").encode()


def document(balance: Balance, head: Checkpoint) -> bytes:
    """For programs."""
    figures = {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "balanced": balance.balanced,
        "books": {b.book: {"opened": b.opened, "settled": {**b.settled}, "open": b.outstanding} for b in balance.books},
        "across": [
            {"left": e.left, "left_figure": e.left_figure, "right": e.right, "right_figure": e.right_figure}
            for e in balance.across
        ],
    }
    return (json.dumps(figures, indent=2) + "\n").encode()
