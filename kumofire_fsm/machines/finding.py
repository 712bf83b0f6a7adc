"""What a rule says about a lifecycle: where, what, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Broken", "Finding", "Severity"]

Broken = tuple[str, str, str, dict[str, str]]
"""What a rule yields: its name, what was found, how to mend it, and at which state or event."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The class does not come to exist: it could lose or hold a run."""
    WARNING = "warning"
    """The class works, and probably not as it was meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend in a lifecycle.

    Attributes:
        rule: the rule's short name, such as ``no-deadline``.
        machine: the machine's name.
        what: what was found, as a sentence without its full stop.
        mend: how to mend it.
        state, event: where, as far as the rule is about one.
        source: the file and line of the declaration, where a class could not be created.
    """

    rule: str
    severity: Severity
    machine: str
    what: str
    mend: str
    state: str | None = None
    event: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        return f"{self.machine}: {self.what}; {self.mend}"
