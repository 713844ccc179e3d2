"""Where programs of others are: a real Prometheus, a real Alertmanager, a browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_OTHER_NAMES = {"alertmanager": ("prometheus-alertmanager",), "chromium": ("chromium-browser", "google-chrome")}


def find_tool(name: str) -> Path | None:
    """The program `name`: from the folder COUNTERFOIL_TOOLS, from .tools/ (contrib/fetch-tools), or on PATH."""
    folders = [Path(os.environ["COUNTERFOIL_TOOLS"])] if os.environ.get("COUNTERFOIL_TOOLS") else []
    folders += [ROOT / ".tools" / "bin"]
    for candidate in (name, *_OTHER_NAMES.get(name, ())):
        for folder in folders:
            if os.access(folder / candidate, os.X_OK):
                return folder / candidate
        found = shutil.which(candidate)
        if found:
            return Path(found)
    return None
