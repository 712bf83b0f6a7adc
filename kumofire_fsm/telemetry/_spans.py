"""Spans: ``create {job}`` for what is stored, ``process {job}`` for each attempt, linked to its creation.

An attempt is the root of a trace of its own: it may come days after the creation, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from kumofire_fsm.observer import Creation, Processed, Processing, Span
from kumofire_fsm.telemetry import names
from kumofire_fsm.telemetry._harmless import harmless
from kumofire_fsm.values.error_text import error_name
from kumofire_fsm.values.jsontext import first_line
from kumofire_fsm.values.limits import ERROR_LINE

__all__ = ["Spans"]

_W3C: Final = TraceContextTextMapPropagator()
_FAILURES: Final = ("retry", "fail")
"""The events of attempts that failed; whatever else ends one is no error."""


class Spans:
    """The spans of an application.

    Args:
        provider: None for OpenTelemetry's own.
    """

    def __init__(self, provider: trace.TracerProvider | None) -> None:
        self._tracer = trace.get_tracer(names.SCOPE, tracer_provider=provider)

    def creating(self, jobs: Sequence[str]) -> Creation:
        """Return what covers the storing of runs; their jobs' name where it is one."""
        facts: dict[str, Any] = {names.BATCH_COUNT: len(jobs)} if len(jobs) > 1 else {}
        job = jobs[0] if len(set(jobs)) == 1 else None
        return _Creating(self._begun(names.CREATE, job, facts, SpanKind.PRODUCER))

    def processing(self, run: Processed, job: str, over: Callable[[str | None], None]) -> Processing:
        """Return what covers a call of a handler; ``over`` is told at its end what it failed with."""
        creator = trace.get_current_span(_read(run.traceparent)).get_span_context()
        links = [Link(creator)] if creator.is_valid else []
        facts: dict[str, Any] = {
            names.RUN_ID: run.id,
            names.ATTEMPT: run.attempt,
            names.MAX_ATTEMPTS: run.max_attempts,
            **({} if run.step is None else {names.STEP: run.step}),
        }
        span = self._begun(names.PROCESS, job, facts, SpanKind.CONSUMER, Context(), links)
        return _Processing(span, over)

    def traceparent(self) -> str | None:
        """Return the span under way, as W3C Trace Context; None where there is none."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def apart(self) -> Span:
        """Return what covers code that belongs to no span."""
        return _Within(Context())

    def _begun(
        self,
        operation: str,
        job: str | None,
        facts: Mapping[str, Any],
        kind: SpanKind,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> trace.Span:
        usual = {
            names.SYSTEM: names.SYSTEM_NAME,
            names.OPERATION: operation,
            names.OPERATION_TYPE: operation,
            **({} if job is None else {names.JOB: job}),
        }
        name = operation if job is None else f"{operation} {job}"
        return self._tracer.start_span(
            name, context=context, kind=kind, attributes={**usual, **facts}, links=links
        )


def _read(traceparent: str | None) -> Context:
    return _W3C.extract({} if traceparent is None else {"traceparent": traceparent}, Context())


class _Within(Span):
    """Code that runs in an OpenTelemetry context."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Token[Context] | None = None

    @harmless(Span)
    def __enter__(self) -> Self:
        self._token = attach(self._context)
        return self

    @harmless(Span)
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None and kind is not GeneratorExit:  # that is raised in another context
            detach(self._token)


class _Covered(_Within):
    """Code that runs within a span, which ends with it."""

    def __init__(self, span: trace.Span, context: Context) -> None:
        super().__init__(trace.set_span_in_context(span, context))
        self._span = span
        self._error: str | None = None

    @harmless(Span)
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, traceback)
        if kind is not None:
            self._failed(kind.__name__, kind.__name__)
        self._span.end()

    def _failed(self, error: str, description: str) -> None:
        self._error = error
        self._span.set_attribute(names.ERROR_TYPE, error)
        self._span.set_status(Status(StatusCode.ERROR, description))


class _Creating(_Covered, Creation):
    def __init__(self, span: trace.Span) -> None:
        super().__init__(span, get_current())

    @harmless(Creation)
    def created(self, run_ids: Sequence[str], *, is_new: bool = True) -> None:
        if len(run_ids) == 1:
            self._span.set_attribute(names.RUN_ID, run_ids[0])
        else:
            self._span.set_attribute(names.BATCH_COUNT, len(run_ids))
        if not is_new:
            self._span.set_attribute(names.IS_NEW, value=False)


class _Processing(_Covered, Processing):
    def __init__(self, span: trace.Span, over: Callable[[str | None], None]) -> None:
        super().__init__(span, Context())
        self._over = over

    @harmless(Span)
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, traceback)
        self._over(self._error)

    @harmless(Processing)
    def ended(self, event: str | None, error: str | None) -> None:
        if event is None:
            self._failed(names.LOST, "the run is left to its lease")
            return
        self._span.set_attribute(names.EVENT, event)
        if event in _FAILURES and error is not None:
            line = first_line(error, ERROR_LINE)
            self._failed(error_name(error), line)
            # What is stored of it, and not the exception: its text may hold what is hidden there.
            told = {
                names.EXCEPTION_TYPE: error_name(error),
                names.EXCEPTION_MESSAGE: line,
                names.EXCEPTION_STACKTRACE: error,
            }
            self._span.add_event(names.EXCEPTION, told)
