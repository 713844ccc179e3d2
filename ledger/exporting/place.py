"""Where the files of an export are: a folder that is written, or one that is compared with what would be written."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol


class Fault(Exception):
    """The first thing in an export that does not hold. index: the entry, or None where it is about the whole."""

    def __init__(self, index: int | None, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message

    def __str__(self) -> str:
        return f"entry {self.index}: {self.message}" if self.index is not None else self.message


class File(Protocol):
    """One file, from its beginning to its end."""

    def write(self, data: bytes, index: int | None = None) -> None:
        """What comes next. index: the entry that it is of."""

    def close(self, index: int | None = None) -> None:
        """Nothing more comes. index: the entry that would come next."""


class Place(Protocol):
    def file(self, path: str, index: int | None = None) -> File:
        """The file at `path`, relative to the folder. index: the first entry that it is of."""

    def once(self, path: str, data: bytes, index: int | None) -> None:
        """A whole file, which several entries may name."""


class Written:
    """A folder that is written. A path is written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()

    def file(self, path: str, index: int | None = None) -> File:
        return _WrittenFile(self._files.enter_context(self._open(path)))

    def once(self, path: str, data: bytes, index: int | None) -> None:
        try:
            file = self._open(path)
        except FileExistsError:
            return
        with file:
            file.write(data)

    def _open(self, path: str) -> BinaryIO:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")

    def close(self) -> None:
        self._files.close()


class _WrittenFile:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes, index: int | None = None) -> None:
        self._file.write(data)

    def close(self, index: int | None = None) -> None:
        self._file.close()


class Only:
    """A place of which one file is wanted and the others are not."""

    def __init__(self, place: Place, path: str) -> None:
        self._place = place
        self._path = path

    def file(self, path: str, index: int | None = None) -> File:
        return self._place.file(path, index) if path == self._path else _NoFile()

    def once(self, path: str, data: bytes, index: int | None) -> None:
        """Blobs are not wanted."""


class Compared:
    """A folder that is read along with what would be written into it. The first difference is a `Fault`.

    A file that is missing is told by `finish` alone: until then something that says more may be found.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._missing: Fault | None = None
        self._files = ExitStack()

    def file(self, path: str, index: int | None = None) -> File:
        self._seen.add(path)
        found = open_file(self._folder, path)
        if found is None:
            self._missing = self._missing or Fault(index, f"{path} is missing")
            return _NoFile()
        return _ComparedFile(path, self._files.enter_context(found))

    def once(self, path: str, data: bytes, index: int | None) -> None:
        if path in self._seen:
            return
        file = self.file(path, index)
        file.write(data, index)
        file.close(index)

    def know(self, path: str) -> None:
        """A file that belongs here, and that is read by somebody else."""
        self._seen.add(path)

    def finish(self) -> None:
        """Nothing is missing, and nothing is here that does not belong here. Raises Fault."""
        if self._missing is not None:
            raise self._missing
        for place, folders, files in os.walk(self._folder):
            here = Path(place).relative_to(self._folder)
            links = [name for name in folders if (self._folder / here / name).is_symlink()]
            for name in sorted(files + links):
                if (path := (here / name).as_posix()) not in self._seen:
                    raise Fault(None, f"{path} does not belong to the export")
            if not files and not folders:
                raise Fault(None, f"{here.as_posix()} does not belong to the export: it is empty")

    def close(self) -> None:
        self._files.close()


def open_file(folder: Path, path: str) -> BinaryIO | None:
    """A plain file of the folder, or None. A link could lead out of it, and is none."""
    target = folder / path
    return target.open("rb") if target.is_file() and not target.is_symlink() else None


class _ComparedFile:
    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    def write(self, data: bytes, index: int | None = None) -> None:
        found = self._file.read(len(data))
        if found != data:
            what = "ends too early" if len(found) < len(data) and data.startswith(found) else "is not what follows"
            raise Fault(index, f"{self._path} {what}{'' if index is None else ' from the entry'}")

    def close(self, index: int | None = None) -> None:
        more = self._file.read(1)
        self._file.close()
        if more:
            raise Fault(index, f"{self._path} goes on after its end")


class _NoFile:
    def write(self, data: bytes, index: int | None = None) -> None:
        pass

    def close(self, index: int | None = None) -> None:
        pass
