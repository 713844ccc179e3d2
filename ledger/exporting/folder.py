"""Write an export: first beside its place, then under its name, so that a folder of that name is a whole one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ledger.exporting.place import Fault, Place, Written
from ledger.exporting.source import NoExport


def write_folder(folder: Path, write: Callable[[Place], None]) -> None:
    """Let `write` fill a new folder, and give it the name `folder`, which must not exist or be empty.

    It is readable by its owner alone, as the ledger is. Raises NoExport and OSError; then nothing is left behind.
    """
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise NoExport(f"{folder}: it is there already, and not an empty folder; name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with closing(Written(new)) as place:
            write(place)
        # Crash before this: a folder that begins with a dot and is not the export. After it: the whole export.
        new.rename(folder)
    except Fault as fault:
        raise NoExport(f"{fault}; see `counterfoil ledger verify`") from fault
    finally:
        shutil.rmtree(new, ignore_errors=True)
