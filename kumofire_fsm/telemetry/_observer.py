"""The observer that tells OpenTelemetry: spans of what is created and processed, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from kumofire_fsm.observer import Creation, Observer, Processed, Processing, Span
from kumofire_fsm.telemetry import names
from kumofire_fsm.telemetry._harmless import harmless

if TYPE_CHECKING:
    from kumofire_fsm.telemetry._metrics import Metrics
    from kumofire_fsm.telemetry._spans import Spans

__all__ = ["Telemetry"]


class Telemetry(Observer):
    """Tells a tracer and a meter, which are made when there is something to tell.

    Args:
        name_of: gives the name of a job that may be stored under an earlier one.
        tracer_provider, meter_provider: None for OpenTelemetry's own.
    """

    watches: ClassVar[bool] = True

    def __init__(self, name_of: Callable[[str], str], tracer_provider: Any, meter_provider: Any) -> None:
        self._name_of = name_of
        self._tracer_provider, self._meter_provider = tracer_provider, meter_provider

    @cached_property
    def _spans(self) -> Spans:
        from kumofire_fsm.telemetry._spans import Spans

        return Spans(self._tracer_provider)

    @cached_property
    def _metrics(self) -> Metrics:
        from kumofire_fsm.telemetry._metrics import Metrics

        return Metrics(self._meter_provider)

    @harmless(Observer)
    def creating(self, jobs: Sequence[str]) -> Creation:
        """See `Observer.creating`; one span for all of them."""
        return self._spans.creating(jobs)

    @harmless(Observer)
    def traceparent(self) -> str | None:
        """See `Observer.traceparent`."""
        return self._spans.traceparent()

    @harmless(Observer)
    def processing(self, run: Processed, steady: Callable[[], float]) -> Processing:
        """See `Observer.processing`."""
        job, began, metrics = self._name_of(run.job), steady(), self._metrics

        def over(error: str | None) -> None:
            metrics.processed(job, steady() - began, error)

        return self._spans.processing(run, job, over)

    @harmless(Observer)
    def apart(self) -> Span:
        """See `Observer.apart`."""
        return self._spans.apart()

    @harmless(Observer)
    def started(self, job: str, waited_s: float) -> None:
        """See `Observer.started`."""
        self._metrics.waited.record(waited_s, {names.JOB: job})

    @harmless(Observer)
    def settled(self, job: str, outcome: str) -> None:
        """See `Observer.settled`."""
        self._metrics.settled.add(1, {names.JOB: job, names.OUTCOME: outcome})

    @harmless(Observer)
    def fired(self, event: str) -> None:
        """See `Observer.fired`."""
        self._metrics.fired.add(1, {names.EVENT: event})

    @harmless(Observer)
    def measured(self, counts: Mapping[tuple[str, str], int], oldest_s: Mapping[str, float]) -> None:
        """See `Observer.measured`."""
        self._metrics.measured(counts, oldest_s)

    @harmless(Observer)
    def serving(self, slots: Callable[[], tuple[int, int]]) -> Callable[[], None]:
        """See `Observer.serving`."""
        return self._metrics.serving(slots)

    @harmless(Observer)
    def rows(self, read: int, written: int) -> None:
        """See `Observer.rows`."""
        self._metrics.rows.add(read, {names.ACCESS: names.READ})
        self._metrics.rows.add(written, {names.ACCESS: names.WRITTEN})
