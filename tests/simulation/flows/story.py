"""What one instance of a flow has gone through, as it is known beside its row."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from simulation.flows.declared import renamed

__all__ = ["Story"]


@dataclass(slots=True)
class Story:
    """One instance.

    Attributes:
        data: what the last step returned, as JSON gives it.
        stack: the tasks that were done and are to be undone, if it comes to that.
        posted: the numbers of all signals that moved it, or were kept.
        kept: the letters of its mail.
        effects: (handler, visit) of what handlers committed with a step that was stored.
    """

    data: Any
    stack: list[str] = field(default_factory=list)
    posted: list[int] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)

    def later(self) -> None:
        """Become what a deploy makes of it."""
        self.data = {**self.data, "warehouse": "north"}
        self.stack = [renamed(step) for step in self.stack]

    @staticmethod
    def letters(mail: str | None) -> list[Any]:
        """Return the letters of a mail."""
        letters: list[Any] = json.loads(mail or "[]")
        return letters
