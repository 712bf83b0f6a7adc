"""Telemetry: spans and metrics in OpenTelemetry, and nothing at all where it is off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, echo, nothing
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from kumofire_fsm import Backoff, Cancel, DefinitionError, Fail, Kumofire, NewRun, PlainContext, Snooze
from kumofire_fsm.engine.due import claim_hinted
from kumofire_fsm.errors import MissingPackage, TransientStoreError
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.ports import Statement
from kumofire_fsm.telemetry import instrument, names
from kumofire_fsm.values.times import moment


class Told:
    """What an application tells OpenTelemetry."""

    def __init__(self, app: Kumofire) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        meters = MeterProvider(metric_readers=[self._reader])
        instrument(app, tracer_provider=self.provider, meter_provider=meters)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Return the spans that have ended, in this order; all of a name, or of all names."""
        return [each for each in self._spans.get_finished_spans() if name in ("", each.name)]

    def metric(self, name: str) -> dict[tuple[Any, ...], Any]:
        """Return a metric by the values of its attributes in the order of their names; (sum, count) of durations."""
        data = self._reader.get_metrics_data()
        found: dict[tuple[Any, ...], Any] = {}
        for each in data.resource_metrics if data else ():
            for metric in (metric for scope in each.scope_metrics for metric in scope.metrics):
                for point in metric.data.data_points if metric.name == name else ():
                    assert point.attributes is not None
                    key = tuple(value for _, value in sorted(point.attributes.items()))
                    value = (point.sum, point.count) if hasattr(point, "sum") else point.value
                    found[key] = value
        return found


@pytest.fixture
def told(kit: Kit) -> Told:
    return Told(kit.app)


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def linked(span: ReadableSpan) -> list[str]:
    return [trace.format_span_id(link.context.span_id) for link in span.links]


def identity(span: ReadableSpan) -> str:
    return trace.format_span_id(span.context.span_id)


async def test_an_attempt_is_a_trace_of_its_own_linked_to_the_creation(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        run_id = await w.create("mail", "Ada")
        await w.deliver(run_id)
    created, processed = told.spans()
    usual = {
        "messaging.system": "kumofire",
        "messaging.destination.name": "mail",
        "messaging.message.id": run_id,
    }
    assert (created.name, created.kind, created.parent) == ("create mail", trace.SpanKind.PRODUCER, None)
    assert facts(created) == {
        **usual,
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
    }
    assert (processed.name, processed.kind, processed.parent) == (
        "process mail",
        trace.SpanKind.CONSUMER,
        None,
    )
    assert facts(processed) == {
        **usual,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "kumofire.run.attempt": 1,
        "kumofire.run.max_attempts": 3,
        "kumofire.event": "succeed",
    }
    assert linked(processed) == [identity(created)]
    assert created.context.trace_id != processed.context.trace_id
    assert {span.status.status_code for span in told.spans()} == {trace.StatusCode.UNSET}


async def test_each_retry_is_a_span_with_the_error_as_it_is_stored(kit: Kit, told: Told) -> None:
    @kit.job("mail", max_attempts=2)
    async def mail(ctx: Any) -> None:
        await asyncio.sleep(0)
        raise ConnectionError(f"try {ctx.attempt}")

    async with kit.bound() as w:
        run_id = await w.create("mail")
        await w.deliver(run_id)
        w.clock.advance(2)
        await w.deliver(run_id)
        status = await w.status(run_id)
    assert status.state == "failed"
    (created,) = told.spans("create mail")
    tries = told.spans("process mail")
    assert [facts(each)["kumofire.run.attempt"] for each in tries] == [1, 2]
    assert [facts(each)["kumofire.event"] for each in tries] == ["retry", "retry"]
    assert {facts(each)["error.type"] for each in tries} == {"ConnectionError"}
    assert [(each.status.status_code, each.status.description) for each in tries] == [
        (trace.StatusCode.ERROR, "ConnectionError: try 1"),
        (trace.StatusCode.ERROR, "ConnectionError: try 2"),
    ]
    assert [linked(each) for each in tries] == 2 * [[identity(created)]]
    (event,) = tries[1].events
    assert (event.name, dict(event.attributes or {})) == (
        "exception",
        {
            "exception.type": "ConnectionError",
            "exception.message": "ConnectionError: try 2",
            "exception.stacktrace": status.last_error,
        },
    )


@pytest.mark.parametrize(
    ("raises", "event", "error"),
    [(Snooze(5), "snooze", None), (Cancel("enough"), "stop", None), (Fail("no"), "fail", "Fail")],
    ids=["snooze", "cancel", "fail"],
)
async def test_a_signal_is_an_error_only_where_it_fails(
    kit: Kit, told: Told, raises: Exception, event: str, error: str | None
) -> None:
    @kit.job("mail")
    async def mail(ctx: Any) -> None:
        raise raises

    async with kit.bound() as w:
        await w.deliver(await w.create("mail"))
    (span,) = told.spans("process mail")
    assert (facts(span)["kumofire.event"], facts(span).get("error.type")) == (event, error)


async def test_a_batch_is_one_creation_and_a_span_for_each_attempt(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_many([NewRun("mail", number) for number in range(3)])
        ids = [each.kumofire_job_run_id for each in made]
        await w.deliver(*ids, concurrency=2)
    (created,) = told.spans("create mail")
    assert facts(created)["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in facts(created)
    processed = told.spans("process mail")
    assert sorted(facts(each)["messaging.message.id"] for each in processed) == sorted(ids)
    assert [linked(each) for each in processed] == 3 * [[identity(created)]]


async def test_a_batch_of_several_jobs_is_called_after_none(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    kit.job("report")(echo)
    async with kit.bound() as w:
        await w.jobs.create_many([NewRun("mail"), NewRun("report")])
    (created,) = told.spans()
    assert (created.name, facts(created).get("messaging.destination.name")) == ("create", None)


async def test_what_a_handler_creates_belongs_to_its_attempt(kit: Kit, told: Told) -> None:
    kit.job("child")(nothing)

    @kit.job("parent")
    async def parent(ctx: Any) -> str:
        child = await ctx.jobs.create("child")
        return str(child.kumofire_job_run_id)

    async with kit.bound() as w:
        run_id = await w.create("parent")
        await w.deliver(run_id)
        child = (await w.status(run_id)).result
        await w.deliver(child)
    (processed,) = told.spans("process parent")
    (created,) = told.spans("create child")
    assert created.parent is not None
    assert trace.format_span_id(created.parent.span_id) == identity(processed)
    assert linked(told.spans("process child")[0]) == [identity(created)]
    assert otel_context.get_current() == {}


async def test_a_creation_belongs_to_the_caller_s_span_and_an_attempt_to_none(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        with told.provider.get_tracer("caller").start_as_current_span("request") as request:
            run_id = await w.create("mail", "Ada")
            await w.deliver(run_id)
    (created,) = told.spans("create mail")
    (processed,) = told.spans("process mail")
    assert created.parent == request.get_span_context()
    assert (processed.parent, linked(processed)) == (None, [identity(created)])


async def test_who_creates_stands_in_the_row_s_history(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        run_id = await w.create("mail", "Ada")
        first, *_ = (await w.status(run_id)).history
    (created,) = told.spans()
    traceparent = f"00-{trace.format_trace_id(created.context.trace_id)}-{identity(created)}-{created.context.trace_flags:02x}"
    assert (first.event, dict(first.facts)) == ("create", {"traceparent": traceparent})


async def test_a_creation_that_finds_the_holder_of_its_key_says_so(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        run_id = await w.create("mail", "Ada", dedupe_key="1")
        assert await w.create("mail", "Ada", dedupe_key="1") == run_id
        await w.deliver(run_id)
    first, again = told.spans("create mail")
    assert [facts(each).get("kumofire.run.is_new") for each in (first, again)] == [None, False]
    assert [facts(each)["messaging.message.id"] for each in (first, again)] == [run_id, run_id]
    assert linked(told.spans("process mail")[0]) == [identity(first)]


async def test_a_creation_that_fails_is_an_error(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        w.storage.fail_once("runs.insert", "before")
        with pytest.raises(TransientStoreError):
            await w.create("mail")
    (created,) = told.spans()
    assert (created.status.status_code, facts(created)["error.type"]) == (
        trace.StatusCode.ERROR,
        "TransientStoreError",
    )


async def test_the_run_of_a_schedule_is_linked_to_the_tick_that_made_it(kit: Kit, told: Told) -> None:
    kit.job("report")(nothing)
    async with kit.bound() as w:
        await w.jobs.create_schedule("report", every=60)
        w.clock.advance(60)
        await w.jobs.dispatch()
        ((run_id,),) = await w.sql("SELECT id FROM kumofire_runs")
        await w.deliver(run_id)
    (created,) = told.spans("create report")
    assert facts(created)["messaging.message.id"] == run_id
    assert linked(told.spans("process report")[0]) == [identity(created)]


async def test_a_hook_s_creation_belongs_to_no_attempt(kit: Kit, told: Told) -> None:
    kit.job("child")(nothing)
    kit.job("slow")(nothing)

    @kit.job("parent")
    async def parent(ctx: Any) -> None:
        await ctx.jobs.create("slow")  # tells the hook within the handler's task

    @kit.app.on("create", job="slow")
    async def follow(transition: Any) -> None:
        await transition.jobs.create("child")

    async with kit.bound() as w:
        await w.deliver(await w.create("parent"))
    assert [each.parent for each in told.spans("create child")] == [None]


async def test_a_prepared_run_is_linked_to_the_span_in_which_it_was_prepared(kit: Kit, told: Told) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        with told.provider.get_tracer("caller").start_as_current_span("request") as request:
            prepared = w.jobs.prepare_create("mail", "Ada")
        for sql, (argument,) in prepared.statements:
            await w.storage.inner.execute(Statement("prepared", sql, str(argument)))
        await w.deliver(prepared.kumofire_job_run_id)
    assert told.spans("create mail") == []
    (processed,) = told.spans("process mail")
    assert [link.context.span_id for link in processed.links] == [request.get_span_context().span_id]


async def test_a_run_that_was_created_without_telemetry_has_no_link(kit: Kit, tmp_path: Path) -> None:
    kit.job("mail")(echo)
    other = kit.another_app()
    other.job("mail")(echo)
    told = Told(other)
    async with kit.bound(tmp_path / "jobs.db") as w:
        run_id = await w.create("mail", "Ada")
    async with kit.bound(tmp_path / "jobs.db", app=other) as w:
        await w.deliver(run_id)
    (processed,) = told.spans()
    assert (processed.name, linked(processed)) == ("process mail", [])


class Cart(BaseModel):
    """What an order carries."""

    number: int = 1


class Order(Flow[Cart]):
    """Two steps and a signal between them."""

    charge = Task("The card is charged.", initial=True)
    approval = Wait("A person looks at it.", deadline=Deadline("now + 86400000", "overlook"))
    ship = Task("Handed to the carrier.")
    shipped = End("Delivered.", Outcome.SUCCESS)
    ignored = End("Nobody looked at it.", Outcome.FAILURE)

    done = charge >> approval | ship >> shipped
    approve = Signal(approval.to(ship), takes=None)
    overlook = approval.to(ignored)
    fail = Flow.any.to(ignored)
    cancel = Flow.any.to(ignored)


async def test_each_step_of_a_flow_is_a_span_linked_to_its_creation(kit: Kit, told: Told) -> None:
    async def handle(ctx: Any, cart: Cart) -> None: ...

    for step in (Order.charge, Order.ship):
        kit.app.step(step)(handle)
    async with kit.bound() as w:
        run_id = (await w.jobs.create(Order, Cart())).kumofire_job_run_id
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Order.approve)
        await w.deliver(run_id)
        name = (await w.status(run_id)).name
    (created,) = told.spans(f"create {name}")
    steps = told.spans(f"process {name}")
    assert [facts(each)["kumofire.flow.step"] for each in steps] == ["charge", "ship"]
    assert [linked(each) for each in steps] == 2 * [[identity(created)]]
    assert told.metric(names.SETTLED) == {("success", name): 1}


# -- metrics --------------------------------------------------------------------------------------


async def test_attempts_are_timed_and_waits_counted_from_when_a_run_was_due(kit: Kit, told: Told) -> None:
    @kit.job("mail")
    async def mail(ctx: Any) -> None:
        kit.clock.advance(0.25)
        if ctx.attempt == 1:
            raise ConnectionError

    async with kit.bound() as w:
        run_id = await w.create("mail", delay=10)
        w.clock.advance(13)
        await w.deliver(run_id)
        w.clock.advance(4)  # the backoff is 2 s
        await w.deliver(run_id)
    assert told.metric(names.PROCESS_DURATION) == {
        ("mail", "process", "kumofire"): (0.25, 1),
        ("ConnectionError", "mail", "process", "kumofire"): (0.25, 1),
    }
    assert told.metric(names.WAIT_DURATION) == {("mail",): (5.0, 2)}
    assert told.metric(names.SETTLED) == {("success", "mail"): 1}


async def test_runs_that_settle_are_counted_by_outcome_whoever_settles_them(kit: Kit, told: Told) -> None:
    kit.job("good")(nothing)

    @kit.job("bad", max_attempts=1)
    async def bad(ctx: Any) -> None:
        raise ValueError

    async with kit.bound() as w:
        ids = [await w.create("good"), await w.create("good"), await w.create("bad")]
        await w.deliver(*ids)
        await w.jobs.cancel(await w.create("good"))
        await w.create("good", delay=5, expires_at=moment(w.clock.now() + 10_000))
        w.clock.advance(3600)
        await w.jobs.dispatch()
    assert told.metric(names.SETTLED) == {
        ("success", "good"): 2,
        ("failure", "bad"): 1,
        ("cancellation", "good"): 2,
    }


async def test_deadlines_are_counted_by_the_event_that_they_fire(kit: Kit, told: Told) -> None:
    kit.job("mail", timeout=5)(nothing)
    async with kit.bound() as w:
        await w.create("mail", delay=3600)  # is enqueued by a tick
        await w.create("mail")  # its hint is lost, and sent again
        await w.create("mail", delay=3600, expires_at=moment(w.clock.now() + 3601_000))  # expires
        lost = await w.create("mail")
        await claim_hinted(w.jobs._binding, [lost], alone=True)  # its worker dies
        w.clock.advance(130)
        await w.jobs.dispatch()
        assert told.metric(names.FIRED) == {("redeliver",): 1, ("lose",): 1, ("enqueue",): 1}
        w.clock.advance(3600)
        await w.jobs.dispatch()
    assert told.metric(names.FIRED) == {("redeliver",): 3, ("lose",): 1, ("enqueue",): 2, ("expire",): 1}


async def test_a_tick_tells_how_many_runs_are_where_and_how_long_the_oldest_waits(
    kit: Kit, told: Told
) -> None:
    kit.job("mail")(nothing)
    kit.job("report")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("mail")
        await w.create("mail", delay=7200)
        w.clock.advance(90)
        w.storage.clear()
        await w.jobs.dispatch()
        assert w.storage.names == ["schedules.due", "runs.sweep", "overview.groups", "overview.count_failed"]
        assert told.metric(names.COUNT) == {("queued", "mail"): 1, ("ready", "mail"): 1}
        assert told.metric(names.OLDEST_AGE) == {("mail",): 90.0, ("report",): 0.0}
        await w.deliver(run_id)
        await w.jobs.dispatch()
    assert told.metric(names.COUNT) == {("queued", "mail"): 0, ("ready", "mail"): 1}
    assert told.metric(names.OLDEST_AGE) == {("mail",): 0.0, ("report",): 0.0}


async def test_a_tick_whose_count_fails_is_no_failure(
    kit: Kit, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async with kit.bound() as w:
        w.storage.fail_once("overview.groups", "before")
        assert (await w.jobs.dispatch()).complete
    assert "runs could not be counted for telemetry" in caplog.text


class D1:
    """A D1 binding that says of each statement that it read 7 rows and wrote 2."""

    def prepare(self, sql: str) -> Any:
        return self

    def bind(self, *values: Any) -> Any:
        return self

    async def all(self) -> Any:
        return {"results": [], "meta": {"rows_read": 7, "rows_written": 2}}

    async def batch(self, statements: list[Any]) -> list[Any]:
        return [await each.all() for each in statements]


async def test_rows_are_counted_where_the_storage_tells_them(kit: Kit, told: Told) -> None:
    jobs = kit.app.bind(db=D1())
    storage = jobs._binding.storage
    await storage.execute(Statement("one", "SELECT 1", columns=("a",)))
    await storage.batch([Statement("two", "DELETE FROM t"), Statement("three", "DELETE FROM t")])
    assert told.metric(names.ROWS) == {("read",): 21, ("written",): 6}


async def test_a_worker_on_a_file_tells_all_of_it(tmp_path: Path) -> None:
    app = Kumofire(retry=Backoff(first=timedelta(milliseconds=1)))
    told, slots = Told(app), list[Any]()

    @app.job("mail")
    def mail(ctx: PlainContext) -> str:  # in a thread
        slots.append(told.metric(names.SLOTS))
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.jobs.create("child").kumofire_job_run_id

    app.job("child")(nothing)
    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run(concurrency=3))
        with told.provider.get_tracer("caller").start_as_current_span("request"):
            created = await jobs.create("mail")
        child_id = (await jobs.wait(created.kumofire_job_run_id, timeout=600)).result
        assert (await jobs.wait(child_id, timeout=600)).state == "succeeded"
        assert told.metric(names.SETTLED) == {("success", "mail"): 1, ("success", "child"): 1}
        assert set(told.metric(names.OLDEST_AGE)) == {("mail",), ("child",)}
        worker.cancel()
        await asyncio.wait([worker])
    (creation,) = told.spans("create mail")
    tries = told.spans("process mail")
    assert [facts(each)["kumofire.event"] for each in tries] == ["retry", "succeed"]
    assert [(each.parent, linked(each)) for each in tries] == 2 * [(None, [identity(creation)])]
    (child,) = told.spans("create child")
    assert child.parent is not None
    assert trace.format_span_id(child.parent.span_id) == identity(tries[1])
    assert slots == 2 * [{("busy",): 1, ("idle",): 2}]
    assert told.metric(names.SLOTS) == {("busy",): 0, ("idle",): 0}
    assert told.metric(names.WAIT_DURATION)["mail",][1] == 2


class Broken(SpanProcessor):
    """A processor that raises whatever it is told."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("broken at the start")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("broken at the end")


@pytest.mark.parametrize("part", ["on_start", "on_end"])
async def test_a_processor_that_raises_fails_no_run_and_is_logged_once(
    kit: Kit, told: Told, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    other = "on_end" if part == "on_start" else "on_start"
    monkeypatch.setattr(Broken, other, getattr(SpanProcessor, other))
    monkeypatch.setattr("kumofire_fsm.telemetry._harmless._logged", set())
    told.provider.add_span_processor(Broken())
    calls = []

    @kit.job("mail")
    async def mail(ctx: Any) -> None:
        calls.append(ctx.attempt)

    async with kit.bound() as w:
        for _ in range(2):
            run_id = await w.create("mail")
            await w.deliver(run_id)
            assert await w.state(run_id) == "succeeded"
    assert calls == [1, 1]
    raised = [each for each in caplog.records if each.name == "kumofire_fsm.telemetry"]
    methods = ["creating", "processing"] if part == "on_start" else ["__exit__"]
    assert [each.getMessage() for each in raised] == [
        f"telemetry failed in {method!r}, and goes without; it is told once" for method in methods
    ]
    assert otel_context.get_current() == {}


# -- off, and refused -----------------------------------------------------------------------------


async def test_without_telemetry_nothing_is_stored_and_no_statement_differs(kit: Kit) -> None:
    kit.job("mail")(echo)
    async with kit.bound() as w:
        run_id = await w.create("mail", "Ada")
        await w.deliver(run_id)
        await w.jobs.dispatch()
        history = (await w.row(run_id))["history"]
    assert "traceparent" not in history
    assert [sql for sql in w.storage.texts if "traceparent" in sql] == []
    assert "overview.groups" not in w.storage.names


SCRIPT = """
import json, os, sys
from kumofire_fsm import Kumofire
{line}
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "kumofire_fsm.telemetry")))))
"""


ON = """
def refuse(*arguments):
    raise RuntimeError
os.urandom = refuse
from kumofire_fsm.telemetry import instrument
instrument(Kumofire())
"""


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        ("", lambda found: found == []),
        (
            ON,
            lambda found: not [name for name in found if name.startswith("opentelemetry.")],
        ),
    ],
    ids=["the package alone", "turning it on, as a Worker does at import"],
)
def test_opentelemetry_is_imported_when_there_is_something_to_tell(
    line: str, loaded: Callable[[list[str]], bool]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(line=line)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert loaded(json.loads(done.stdout)), done.stdout


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumofire_fsm.telemetry._observer.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'kumofire_fsm\[otel\]'"):
        instrument(Kumofire())


async def test_an_application_is_instrumented_once_and_before_it_works(kit: Kit, told: Told) -> None:
    with pytest.raises(DefinitionError, match="instrumented already"):
        instrument(kit.app)
    with pytest.raises(DefinitionError, match="takes the application"):
        instrument("jobs:app")  # type: ignore[arg-type]
    other = kit.another_app()
    async with kit.bound(app=other):
        with pytest.raises(DefinitionError, match="was opened or bound before"):
            instrument(other)
