"""The two verifiers of an export: the package's, and the one in contrib/, which knows nothing of the package."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from ledger.exporting.place import Fault
from ledger.exporting.verify import verify_export
from tests.ledger.exports import VKEY
from tests.tools import ROOT

SCRIPT = ROOT / "contrib" / "verify_export.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_export", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_SCRIPT = load_script()
Answer = tuple[str, int | None]  # what it says: "OK…" or the fault, and the entry of the fault


def ours(folder: Path, vkey: str = VKEY) -> Answer:
    try:
        return str(verify_export(folder, vkey)), None
    except Fault as fault:
        return str(fault), fault.index


def theirs(folder: Path, vkey: str = VKEY) -> Answer:
    try:
        return _SCRIPT.verify(str(folder), vkey), None
    except _SCRIPT.Fault as fault:
        return str(fault), fault.index


VERIFIERS: dict[str, Callable[..., Answer]] = {"the package": ours, "the script": theirs}
