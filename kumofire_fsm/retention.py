"""How long settled runs are kept: `Retention`, of an application and of a job."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.spec import MachineSpec, Outcome, Role
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms

__all__ = ["Retention", "check_retention"]

LEAST_MS = 60_000
"""A run is kept for at least so long: who waits for it must be able to read how it ended."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long settled runs are kept (timedelta or seconds, at least a minute); None is for ever.

    Attributes:
        succeeded, failed, canceled: by how a run ended; a state of your own counts by its `Outcome`.
        others: states of your own without an outcome.
    """

    succeeded: timedelta | float | None = None
    failed: timedelta | float | None = None
    canceled: timedelta | float | None = None
    others: timedelta | float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            if (value := getattr(self, each.name)) is not None:
                duration_ms(value, f"retention of {each.name}", least=LEAST_MS)

    def of(self, spec: MachineSpec) -> dict[str, int]:
        """Return for each settled state of a machine how long its runs are kept, where that ends."""
        by = {
            Outcome.SUCCESS: self.succeeded,
            Outcome.FAILURE: self.failed,
            Outcome.CANCELLATION: self.canceled,
            None: self.others,
        }
        settled = [state for state in spec.states if state.role is Role.SETTLED]
        found = {state.id: by[state.outcome] for state in settled}
        return {state: duration_ms(kept, "retention") for state, kept in found.items() if kept is not None}


def check_retention(given: object, what: str) -> Retention | None:
    """Return a retention, or None where none is given.

    Raises:
        DefinitionError: it is something else.
    """
    if given is not None and not isinstance(given, Retention):
        raise DefinitionError(f"{what}: retention must be a Retention; found {shown(given)}")
    return given
