"""Export a log: the whole of it, one file of it, or some of its entries."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from ledger.exporting.folder import write_folder
from ledger.exporting.part import Choice, write_part
from ledger.exporting.place import Only, Place
from ledger.exporting.source import NoExport, Stored
from ledger.exporting.whole import BOOKS, ENTRIES, SHEET, Progress, quiet, write_whole


class Format(StrEnum):
    """What to write. Only TILES can be verified; each of the others is one file of it."""

    TILES = "tiles"
    JSONL = "jsonl"
    BEANCOUNT = "beancount"
    CSV = "csv"


_FILES = {Format.JSONL: ENTRIES, Format.BEANCOUNT: BOOKS, Format.CSV: SHEET}


def export(
    source: Stored,
    folder: Path,
    choice: Choice | None = None,
    form: Format = Format.TILES,
    progress: Progress = quiet,
) -> None:
    """Write what is asked for into the new folder `folder`.

    The same log under the same checkpoint gives the same bytes. Raises NoExport and OSError, and leaves nothing then.
    """
    if choice and form is Format.BEANCOUNT:
        raise NoExport("books are of the whole log: what is settled in a period was opened before it")

    def write(place: Place) -> None:
        wanted = place if form is Format.TILES else Only(place, _FILES[form])
        if choice:
            write_part(source, wanted, choice, progress)
        else:
            write_whole(source, wanted, progress)

    write_folder(folder, write)
