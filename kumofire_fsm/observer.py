"""Who is told of creations, attempts and deadlines: nobody, unless `kumofire_fsm.telemetry` is on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Final, Protocol, Self

__all__ = ["Attempted", "Creation", "Observer", "Processed", "Processing", "Span"]


class Span:
    """Something that takes its time: it is entered where it begins, and left where it ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Creation(Span):
    """The storing of runs."""

    def created(self, run_ids: Sequence[str], *, is_new: bool = True) -> None:
        """Tell which runs are stored, or which one holds the dedupe key."""


class Attempted(Protocol):
    """A run as an attempt has it."""

    @property
    def id(self) -> str:
        """Which run it is."""

    @property
    def job(self) -> str:
        """Its job."""

    @property
    def attempt(self) -> int:
        """Which attempt it is."""


class Processed(Attempted, Protocol):
    """A run whose handler is called."""

    @property
    def max_attempts(self) -> int:
        """How many there may be."""

    @property
    def step(self) -> str | None:
        """Of a flow's instance: where it is."""

    @property
    def traceparent(self) -> str | None:
        """What `Observer.traceparent` gave when it was made."""


class Processing(Span):
    """One call of a handler."""

    def ended(self, event: str | None, error: str | None) -> None:
        """Tell the event that ends the attempt, and its error as it is stored; no event: its run is lost."""


_CREATION: Final = Creation()
_PROCESSING: Final = Processing()


class Observer:
    """Is told what happens, and does nothing with it.

    Attributes:
        watches: whether anybody wants to know; where nobody does, nothing is looked up for it.
    """

    watches: ClassVar[bool] = False

    def creating(self, jobs: Sequence[str]) -> Creation:
        """Return what is entered while runs of these jobs are made and stored, a name for each run."""
        return _CREATION

    def traceparent(self) -> str | None:
        """Return what runs that are made now keep of who made them, in the form of W3C Trace Context."""
        return None

    def processing(self, run: Processed, steady: Callable[[], float]) -> Processing:
        """Return what is entered while a handler is called; ``steady`` is a clock that nobody sets."""
        return _PROCESSING

    def apart(self) -> Span:
        """Return what is entered for code that belongs to no attempt, whoever happens to call it."""
        return _CREATION

    def started(self, job: str, waited_s: float) -> None:
        """Tell that a run was started so long after it was due."""

    def settled(self, job: str, outcome: str) -> None:
        """Tell that a run has settled."""

    def fired(self, event: str) -> None:
        """Tell that a deadline fired an event."""

    def measured(self, counts: Mapping[tuple[str, str], int], oldest_s: Mapping[str, float]) -> None:
        """Tell how many runs are in each (job, state), and how long the oldest due one of each job waits."""

    def serving(self, slots: Callable[[], tuple[int, int]]) -> Callable[[], None]:
        """Tell of a worker that gives (handlers under way, slots); what is returned is called at its end."""
        return lambda: None

    def rows(self, read: int, written: int) -> None:
        """Tell how many rows a statement has read and written, where the storage says so."""
