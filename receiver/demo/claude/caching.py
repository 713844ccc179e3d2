"""The prompt cache: what a request begins with is written once, and read when another begins alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .rules import blocks_of

CHARACTERS_PER_TOKEN = 4
TOKENS_MIN = 1_024  # less than this is not cached


class Cache:
    def __init__(self) -> None:
        self._known: set[str] = set()

    def used(self, body: Mapping[str, Any]) -> dict[str, int]:
        """The input's part of a usage: what was read from the cache, what was written to it, and the rest."""
        running, length, read, written, marks = hashlib.sha256(), 0, 0, 0, []
        for block in blocks_of(body):
            text = json.dumps({name: part for name, part in block.items() if name != "cache_control"}, sort_keys=True)
            running.update(text.encode())
            length += len(text)
            tokens = length // CHARACTERS_PER_TOKEN
            if "cache_control" in block and tokens >= TOKENS_MIN:
                digest = running.hexdigest()
                if digest in self._known:
                    read = tokens
                written = tokens
                marks.append(digest)
        self._known.update(marks)
        whole = max(1, length // CHARACTERS_PER_TOKEN)
        return {
            "input_tokens": max(0, whole - written),
            "cache_creation_input_tokens": written - read,
            "cache_read_input_tokens": read,
        }
