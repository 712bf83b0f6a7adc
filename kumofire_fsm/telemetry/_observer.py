"""Turns telemetry on: the observer that tells OpenTelemetry of spans, and of what is counted and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from kumofire_fsm.app import Kumofire
from kumofire_fsm.errors import DefinitionError, MissingPackage
from kumofire_fsm.observer import Creation, Observer, Processed, Processing, Span
from kumofire_fsm.telemetry import names
from kumofire_fsm.telemetry._harmless import harmless
from kumofire_fsm.values.printable import shown

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from kumofire_fsm.telemetry._metrics import Metrics
    from kumofire_fsm.telemetry._spans import Spans

__all__ = [
    "Telemetry",
    "instrument",
]


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


def instrument(
    app: Kumofire,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Have an application's spans and metrics told to OpenTelemetry; before it is opened or bound.

    OpenTelemetry is imported when there is something to tell, and not here: Workers refuse the randomness
    that it asks for at import.

    Args:
        app: the application; it is instrumented once.
        tracer_provider, meter_provider: None for those that OpenTelemetry has by then.

    Raises:
        MissingPackage: OpenTelemetry is not installed.
        DefinitionError: it is no application, was opened or bound before, or is instrumented already.
    """
    given: object = app
    if not isinstance(given, Kumofire):
        raise DefinitionError(f"instrument() takes the application, a Kumofire; found {shown(given)}")
    if find_spec("opentelemetry") is None:
        raise MissingPackage(
            "telemetry needs OpenTelemetry, which is not installed: pip install 'kumofire_fsm[otel]'"
        )
    if app.registry.observer.watches:
        raise DefinitionError("the application is instrumented already; call instrument(app) once")
    if app._statements is not None:
        raise DefinitionError("the application was opened or bound before; call instrument(app) first")
    app.registry.observer = Telemetry(app.registry.name_of, tracer_provider, meter_provider)
