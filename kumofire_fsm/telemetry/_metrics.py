"""The metrics: what is counted and timed as it happens, and what is measured now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from kumofire_fsm.telemetry import names

__all__ = ["Metrics"]

Slots = Callable[[], tuple[int, int]]


class Metrics:
    """The instruments of an application.

    Args:
        provider: None for OpenTelemetry's own.
    """

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter(names.SCOPE, meter_provider=provider)
        self._workers: list[Slots] = []
        self._counted: set[tuple[str, str]] = set()
        self._aged: set[str] = set()
        self._duration = meter.create_histogram(
            names.PROCESS_DURATION,
            "s",
            "How long a call of a handler took.",
            explicit_bucket_boundaries_advisory=names.DURATION_BOUNDS,
        )
        self.waited = meter.create_histogram(
            names.WAIT_DURATION,
            "s",
            "How long a run had been due when it was started.",
            explicit_bucket_boundaries_advisory=names.WAIT_BOUNDS,
        )
        self.settled = meter.create_counter(names.SETTLED, "{run}", "Runs that settled here, by outcome.")
        self.fired = meter.create_counter(names.FIRED, "{deadline}", "Deadlines that fired here, by event.")
        self.rows = meter.create_counter(names.ROWS, "{row}", "Rows that D1 says it has read and written.")
        self._count = meter.create_gauge(
            names.COUNT, "{run}", "Runs that wait, run or failed, by job and state, up to 10,000 of each."
        )
        self._oldest = meter.create_gauge(
            names.OLDEST_AGE, "s", "How long the oldest due run of a job has been waiting for its start."
        )
        meter.create_observable_up_down_counter(
            names.SLOTS, [self._slots], "{slot}", "Handlers that workers of this process may have under way."
        )

    def processed(self, job: str, seconds: float, error: str | None) -> None:
        """Tell how long a call of a handler took, and what it failed with."""
        facts = {names.SYSTEM: names.SYSTEM_NAME, names.OPERATION: names.PROCESS, names.JOB: job}
        self._duration.record(seconds, facts if error is None else {**facts, names.ERROR_TYPE: error})

    def measured(self, counts: Mapping[tuple[str, str], int], oldest_s: Mapping[str, float]) -> None:
        """Set the gauges; what was told before and is gone is 0."""
        for job, state in self._counted | counts.keys():
            self._count.set(counts.get((job, state), 0), {names.JOB: job, names.STATE: state})
        for job in self._aged | oldest_s.keys():
            self._oldest.set(oldest_s.get(job, 0.0), {names.JOB: job})
        self._counted |= counts.keys()
        self._aged |= oldest_s.keys()

    def serving(self, slots: Slots) -> Callable[[], None]:
        """Have a worker's slots observed until what is returned is called."""
        self._workers.append(slots)
        return lambda: self._workers.remove(slots)

    def _slots(self, _: CallbackOptions) -> Iterable[Observation]:
        told = [slots() for slots in list(self._workers)]
        busy, all_slots = sum(each for each, _ in told), sum(each for _, each in told)
        for state, number in ((names.BUSY, busy), (names.IDLE, max(0, all_slots - busy))):
            yield Observation(number, {names.SLOT_STATE: state})
