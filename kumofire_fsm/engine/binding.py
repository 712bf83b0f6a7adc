"""What one event works with: the application's jobs, bound to a database and a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from kumofire_fsm.engine.budget import Budget
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.engine.registry import Registry
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.observer import Attempted
from kumofire_fsm.ports import Clock, Entropy, Queue, Storage
from kumofire_fsm.store.rows import Move, Moved
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.values.printable import shown

__all__ = ["EMBEDDED", "HANDLED", "WORKERS", "Binding", "Timing", "about"]

HANDLED: Final[ContextVar[str | None]] = ContextVar("kumofire_handled", default=None)
"""The id of the run whose handler this code is called by; None outside of handlers."""


def about(run: Attempted) -> dict[str, Any]:
    """Return what a log record carries in its ``extra`` of a run: run_id, job, attempt."""
    return {"run_id": run.id, "job": run.job, "attempt": run.attempt}


OnMoved = Callable[[Sequence[Moved], int | Mapping[str, int], Container[str]], Awaitable[None]]

MOST_UNSETTLED: Final = 1_000
"""So many callers may create a run each and wait for it without looking first; it costs 0.1 MB."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The durations that deadlines read, all in milliseconds.

    Attributes:
        horizon_ms: how long before its time a run is put into the queue, with the queue's own delay.
        redeliver_ms: after how long a hint counts as lost; doubles up to 32 times that.
        lost_ms: how long a run whose worker died waits before it is tried again; doubles.
        grace_ms: how long a running handler may go on after a cancellation.
        lease_ms: how long a worker's claim holds without being renewed; None for the whole timeout, as in a
            batch whatever this says: nothing runs beside its handlers that could renew it.
        slack_ms: what a lease adds to the handler's timeout, so that the worker's own clock acts first.
        batch_wait_ms: what it adds further in a batch, so that a run may wait behind others.
    """

    horizon_ms: int = 90_000
    redeliver_ms: int = 120_000
    lost_ms: int = 1_000
    grace_ms: int = 30_000
    lease_ms: int | None = None
    slack_ms: int = 10_000
    batch_wait_ms: int = 60_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 1 if name == "lease_ms" else 0
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not whole and not (name == "lease_ms" and value is None):
                raise InvalidArgument(f"{name} must be a whole number of milliseconds; found {shown(value)}")

    def columns(self) -> dict[str, int]:
        """Return what deadlines may name, as the statements want it."""
        return {
            "horizon_ms": self.horizon_ms,
            "redeliver_ms": self.redeliver_ms,
            "lost_ms": self.lost_ms,
            "grace_ms": self.grace_ms,
        }

    def lease_for(self, timeout_ms: int) -> tuple[int, int]:
        """Return (how long an attempt may last, how long its lease is) for a handler's timeout."""
        whole = timeout_ms + self.slack_ms
        return whole, min(self.lease_ms or whole, whole)


WORKERS = Timing()
EMBEDDED = Timing(horizon_ms=0, redeliver_ms=0, lease_ms=15_000)
"""Without a queue a due run is claimed where it lies: nothing is enqueued early or sent again."""


@dataclass(slots=True)
class Binding:
    """The application's jobs on one database and, unless a worker claims by itself, one queue."""

    registry: Registry
    storage: Storage
    queue: Queue | None
    clock: Clock
    entropy: Entropy
    timing: Timing
    env: Any
    runs: RunStatements
    schedules: ScheduleStatements
    budget: Budget = field(default_factory=Budget)
    """How many statements the event may send that this is bound for."""
    opened_with: Any = field(init=False)
    """What the application was opened or bound with; `env` is another where its lifespan yields one."""
    lives: bool = False
    """Whether the application's lifespan has begun, and not ended."""
    shared: Any = None
    """The lifespan that events of a Worker share; see `kumofire_fsm.work.lifespan`."""
    jobs: Any = None
    """The API on this binding, for handlers and hooks."""
    on_moved: OnMoved | None = None
    """Calls the application's hooks for runs that were moved, when, and which of them were created."""
    wake: Callable[[], None] = lambda: None
    """Called just before work is stored, so that a worker in this process asks for it in the same commit."""
    turns: dict[str, tuple[str, int]] = field(default_factory=dict)
    """For claims and sweeps, the (job, priority) served last: the next look begins with its successor."""
    serves: frozenset[str] | None = None
    """The names of the jobs whose runs this process starts; None for all that it knows."""
    full: Callable[[], bool] = lambda: False
    """Whether a worker in this process has no slot for another handler."""
    tell: Callable[[Iterable[Moved]], None] | None = None
    """Tells a worker in this process of runs that were moved here: handlers may be asked to stop."""
    owned: Callable[[], Sequence[str]] = tuple
    """Gives the runs that a worker in this process owns: no sweep of this process takes them."""
    waiters: dict[str, list[asyncio.Future[None]]] = field(default_factory=dict)
    unsettled: dict[str, None] = field(default_factory=dict)
    """The last runs that this process created and has not been told the end of, up to `MOST_UNSETTLED`."""
    _durations: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.opened_with = self.env
        self._durations = self.timing.columns()

    @property
    def hint_ms(self) -> int | None:
        """After how long a hint counts as lost of what people move; None without a queue."""
        return None if self.queue is None else self.timing.redeliver_ms

    def now(self) -> int:
        """Return the time in milliseconds since 1970."""
        return self.clock.now()

    def move(self, run_id: str, event: str, *, now: int | None = None, **what: Any) -> Move:
        """Return an event to fire on a run at this time, with the durations that deadlines read."""
        at = self.now() if now is None else now
        return Move(run_id, event, now=at, **self._durations, **what)  # type: ignore[arg-type]

    def served(self) -> dict[str, Definition]:
        """Return the jobs whose runs this process starts, by every name that they answer to."""
        names = self.registry.names
        return {name: job for name, job in names.items() if self.serves is None or name in self.serves}

    def leases(self) -> dict[str, tuple[int, int]]:
        """Return for each served name of a job (how long an attempt may last, how long its lease is)."""
        return {name: self.timing.lease_for(job.timeout_ms) for name, job in self.served().items()}

    def limits(self) -> dict[str, int]:
        """Return for each job that declares a limit how many of its runs may be leased at once."""
        return self.registry.limits

    def key_limits(self) -> dict[str, int]:
        """Return for each job that declares one how many runs of a concurrency key may be leased at once."""
        return self.registry.key_limits

    def rates(self) -> dict[str, tuple[int, int]]:
        """Return the rate of each job that declares one, as the statements want it."""
        return self.registry.rates

    def key_rates(self) -> dict[str, tuple[int, int]]:
        """Return the rate of each concurrency key for each job that declares one."""
        return self.registry.key_rates

    def definition(self, name: str) -> Definition | None:
        """Return the job of that name, or None where it is not known here."""
        return self.registry.names.get(name)

    def note_created(self, run_id: str) -> None:
        """Note that a run was stored by this process, and so is not settled yet as far as it is known."""
        self.unsettled[run_id] = None
        if len(self.unsettled) > MOST_UNSETTLED:
            del self.unsettled[next(iter(self.unsettled))]

    def tell_settled(self, run_ids: Iterable[str]) -> None:
        """Wake whoever waits in this process for these runs."""
        for run_id in run_ids:
            self.unsettled.pop(run_id, None)
            for waiter in self.waiters.pop(run_id, ()):
                if not waiter.done():
                    waiter.set_result(None)
