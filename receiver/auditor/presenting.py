"""Templates into HTML: escaped, with nothing hidden in it, and under headers that let a page load nothing else."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from receiver.auditor import lookups, telling

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
FILES = {"auditor.css": "text/css", "icon.svg": "image/svg+xml"}
JSON_BYTES_LAID_OUT = 65_536
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(value: Any) -> Any:
    """Text in which every control, bidi or zero-width character is spelt out: \\u202e. Other values as they are."""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable()):
        return value
    return "".join(_spelt(c) if unicodedata.category(c) in _HIDDEN and c not in "\n\t" else c for c in value)


def _spelt(character: str) -> str:
    return f"\\u{ord(character):04x}"


def day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S.%f")[:-3]


def since(seconds: float) -> str:
    """Seconds after the opening, signed: +3.2 s, -0.1 s; minutes and hours where there are many."""
    size = abs(seconds)
    sign = "-" if seconds <= -0.05 else "+"
    if size < 120:
        return f"{sign}{size:.1f} s"
    return f"{sign}{size / 60:.0f} min" if size < 7200 else f"{sign}{size / 3600:.1f} h"


def laid_out(data: bytes) -> str:
    """JSON with indents; anything else as text, where what is no UTF-8 stands as U+FFFD."""
    text = data[:JSON_BYTES_LAID_OUT].decode("utf-8", "replace")
    if len(data) > JSON_BYTES_LAID_OUT:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError):
        return text


class Pages:
    """Renders templates of the package."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: packaged("templates", name)),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=visible,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            clock=clock,
            day=day,
            since=since,
            said=telling.said,
            office=telling.office,
            details=telling.details,
            comparisons=telling.comparisons,
            claims=telling.claims,
            moved=lookups.moved,
            left_out=lookups.left_out,
            looked_up=lookups.looked_up,
        )
        self._environment.globals["lasted"] = telling.lasted

    def render(self, template: str, status: int, values: Mapping[str, Any]) -> web.Response:
        text = self._environment.get_template(template).render(values)
        # A lone surrogate, which JSON can spell, has no UTF-8.
        body = text.encode("utf-8", "backslashreplace")
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=SECURITY)


def static(name: str) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=300"}
    return web.Response(text=packaged("static", name), content_type=FILES[name], charset="utf-8", headers=headers)


@cache
def packaged(folder: str, name: str) -> str:
    return resources.files("receiver.auditor").joinpath(folder, name).read_text(encoding="utf-8")
