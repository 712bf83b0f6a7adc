"""What the handler of a flow's step gets beside what every handler gets."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.work.context import PlainContext, RunContext

__all__ = ["PlainStepContext", "StepContext", "Told"]


class Told(NamedTuple):
    """A signal that led to a step: its name, and what it carried."""

    name: str
    value: Any


class _Step:
    """The facts of a step."""

    __slots__ = ()
    _run: ClaimedRun

    @property
    def step(self) -> str:
        """The step's name."""
        return self._run.step or ""

    @property
    def visit(self) -> int:
        """How many steps were entered before this one, and how often: it grows with each."""
        return self._run.visit or 0

    @property
    def key(self) -> str:
        """A text that is the same in every attempt of this visit of the step, and another in all others.

        Give it to services that take an idempotency key.
        """
        return f"{self._run.id}:{self.visit}"

    @property
    def signal(self) -> Told | None:
        """The signal that led here, with its value as JSON gives it; None where none did."""
        if self._run.letter is None:
            return None
        ((_, name, value),) = json.loads(self._run.letter)
        return Told(name, value)


class StepContext(_Step, RunContext):
    """The first argument of an async handler of a step."""

    __slots__ = ()


class PlainStepContext(_Step, PlainContext):
    """The first argument of a plain handler of a step."""

    __slots__ = ()
