"""What happened, one short line an event, with runs called r1, r2, ... in the order of their creation."""

from __future__ import annotations

from typing import Any

__all__ = ["Trace"]


class Trace:
    """The record of one history; it is written out only when somebody reads it."""

    def __init__(self) -> None:
        self._notes: list[tuple[int, str, str, Any]] = []
        self._names: dict[str, str] = {}

    def note(self, at: int, who: str, what: str, about: Any = "") -> None:
        """Record that somebody did something, milliseconds from the beginning."""
        self._notes.append((at, who, what, about))

    def name(self, run_id: str) -> str:
        """Return the short name of a run."""
        return self._names.setdefault(run_id, f"r{len(self._names) + 1}")

    def lines(self) -> list[str]:
        """Return the lines."""
        return [
            f"{at / 1000:9.3f} {who:<14} {self.told(f'{what} {about}')}".rstrip()
            for at, who, what, about in self._notes
        ]

    def brief(self) -> list[str]:
        """Return the lines but for statements that found nothing, and the plans of workers."""
        return [line for line in self.lines() if not line.endswith("-> 0 rows") and ".next_wake" not in line]

    def told(self, text: str) -> str:
        """Return a text with the short names of runs."""
        for run_id, name in self._names.items():
            text = text.replace(run_id, name)
        return text
