"""What `check` found: one value a line."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """check: what was looked at, in a word. remedy: what to do, where there is something to do."""

    check: str
    state: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.state:<4}  {self.check:<13}  {self.message}"
        return f"{text}; {self.remedy}" if self.remedy else text
