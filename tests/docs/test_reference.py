"""The reference names everything that is public, each call with its parameters and defaults."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import pytest
import typer
from options_page import commands_of, options_of, renewed
from pages import ROOT, page, sections

import kumofire_fsm
from kumofire_fsm import errors, flows, machines, telemetry, testing
from kumofire_fsm.calendar.options import recurrence_from_options
from kumofire_fsm.cli.commands import cli, worker_command
from kumofire_fsm.cli.texts import duration_of
from kumofire_fsm.engine.binding import EMBEDDED, WORKERS
from kumofire_fsm.schedules.changes import ScheduleOptions
from kumofire_fsm.values import limits

PAGE = page("reference.md")
SECTIONS = sections(PAGE)
SPANS = set(re.findall(r"`([^`]+)`", PAGE))
ROOM = ROOT / "kumofire_fsm"

INSIDE = {
    "Kumofire.binding": "what bind and open share",
    "Kumofire.statements": "compiled once for all events",
    "RunContext.close": "called once the handler has ended",
    "RunContext.progressed": "called once a heartbeat was stored",
    "Backoff.delay_ms": "asked by the worker",
    "StepContext.close": "called once the handler has ended",
    "StepContext.progressed": "called once a heartbeat was stored",
    "Timing.columns": "asked by the statements",
    "Timing.lease_for": "asked by a claim",
}
"""Methods without an underscore that applications do not call."""

CLASSES = {
    "Kumofire": kumofire_fsm.Kumofire,
    "Jobs": kumofire_fsm.Jobs,
    "BoundJobs": kumofire_fsm.BoundJobs,
    "EmbeddedJobs": kumofire_fsm.EmbeddedJobs,
    "RunContext": kumofire_fsm.RunContext,
    "StepContext": kumofire_fsm.StepContext,
    "PreparedRun": kumofire_fsm.PreparedRun,
    "Backoff": kumofire_fsm.Backoff,
    "Timing": kumofire_fsm.Timing,
    "MachineSpec": machines.MachineSpec,
    "VirtualJobs": testing.VirtualJobs,
}
RECORDS = [
    each
    for module in (kumofire_fsm, flows, machines, testing)
    for name in module.__all__
    if inspect.isclass(each := getattr(module, name)) and dataclasses.is_dataclass(each)
]


FUNCTIONS: list[tuple[str, Any]] = [
    *(
        (name, getattr(module, name))
        for module in (kumofire_fsm, telemetry, testing)
        for name in module.__all__
        if inspect.isfunction(getattr(module, name)) and name != "NEVER"
    ),
    *((each.__name__, each.__init__) for each in (kumofire_fsm.Kumofire, kumofire_fsm.Timing)),
    *(
        (each.__name__, each.__init__)
        for each in (
            kumofire_fsm.Retry,
            kumofire_fsm.Snooze,
            kumofire_fsm.Fire,
            kumofire_fsm.Go,
            testing.Play,
        )
    ),
    *(
        (each.__name__, each.__init__)
        for each in (
            testing.MemoryStorage,
            testing.RecordingQueue,
            testing.RecordedMessage,
            testing.VirtualClock,
        )
    ),
    *((each.__name__, each.__init__) for each in (machines.State, machines.Edge, machines.Deadline)),
    *((each.__name__, each.__init__) for each in (flows.Task, flows.Wait, flows.End, flows.Signal)),
    ("Event", machines.Event.__new__),
]


def signature(function: Callable[..., Any], name: str) -> str:
    """Return a call as the page writes it: its parameters in their order, with their defaults."""
    parts: list[str] = []
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in "".join(p[0] for p in parts):
            parts.append("*")
        star = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
        needed = parameter.default in (parameter.empty, ...)
        default = "" if needed else f"={shown(parameter.default)}"
        parts.append(f"{star}{parameter.name}{default}")
    return f"{name}({', '.join(parts)})"


def named(value: object) -> str:
    """Return a test's id, the same in every process."""
    return value if isinstance(value, str) else str(getattr(value, "__name__", type(value).__name__))


def shown(value: object) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return value.__name__ if inspect.isclass(value) else repr(value).replace("'", '"')


def methods() -> Iterator[tuple[str, str, Any]]:
    for owner, found in CLASSES.items():
        for name in dir(found):
            each = inspect.getattr_static(found, name)
            if not name.startswith("_") and inspect.isfunction(each) and f"{owner}.{name}" not in INSIDE:
                yield owner, name, each


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for module in ("", ".flows", ".machines", ".testing", ".errors")
        for name in importlib.import_module(f"kumofire_fsm{module}").__all__
    ],
)
def test_every_public_name_is_there(module: str, name: str) -> None:
    where = PAGE if module in ("", ".errors") else SECTIONS[f"kumofire_fsm{module}"]
    assert re.search(rf"`(?:[^`]*\b)?{name}\b", where), name


@pytest.mark.parametrize(("owner", "name", "method"), list(methods()), ids=named)
def test_every_method_is_there_with_its_parameters_and_defaults(owner: str, name: str, method: Any) -> None:
    assert signature(method, name) in SPANS


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=named)
def test_every_function_and_constructor_is_there_with_its_defaults(name: str, function: Any) -> None:
    assert signature(function, name) in SPANS


def test_no_call_is_told_of_that_does_not_exist() -> None:
    told = {
        span
        for cell in re.findall(r"^\| ([^|]*) \|", PAGE, re.MULTILINE)
        for span in re.findall(r"`(\w+\(.*?\))`", cell)
    }
    known = {signature(function, name) for name, function in FUNCTIONS}
    known |= {signature(method, name) for _, name, method in methods()}
    assert told - known == {"Fail(reason)", "Cancel(reason)"}  # an exception's own constructor


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: each.__name__)
def test_every_field_of_what_calls_give_and_take_is_there(record: Any) -> None:
    names = [field.name for field in dataclasses.fields(record)]
    shown_as = re.search(rf"(?m)^\| `{record.__name__}` \| (.*) \|$|`{record.__name__}\(([^`]+)\)`", PAGE)
    assert shown_as is not None, record.__name__
    assert [name for name in names if not re.search(rf"\b{name}\b", shown_as[0])] == []


def test_the_defaults_of_a_backoff_are_there() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| ", SECTIONS["Retry policies"], re.MULTILINE))
    backoff = kumofire_fsm.Backoff()
    assert told == {
        "first": f"{backoff.first.total_seconds():g} s",
        "factor": str(backoff.factor),
        "cap": f"{backoff.cap.total_seconds() / 3600:g} h",
        "jitter": str(backoff.jitter),
        "on": "none",
    }


def test_every_option_of_a_schedule_is_there() -> None:
    options = re.search(r"#### Options of a schedule\n(.*?)\n### ", PAGE, re.DOTALL)
    assert options is not None
    told = re.findall(r"^\| `(\w+)` \| ", options[1], re.MULTILINE)
    assert set(told) == set(typing.get_type_hints(ScheduleOptions))


def test_every_option_of_a_worker_on_cloudflare_is_there() -> None:
    (made,) = [
        node
        for node in ast.walk(ast.parse((ROOM / "cloudflare" / "_worker.py").read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "__init_subclass__"
    ]
    defaults = {
        each.arg: None if default is None else ast.literal_eval(default)
        for each, default in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True)
    }
    defaults["max_statements"] = limits.D1_STATEMENTS
    told = dict(re.findall(r"^\| `(\w+)` \|(.*?)\| ", SECTIONS["kumofire_fsm.cloudflare"], re.MULTILINE))
    written = {name: "" if value is None else shown(value) for name, value in defaults.items()}
    assert {name: said.strip(" `") for name, said in told.items()} == written


def test_every_error_is_there_with_what_it_is() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (`.*?`) \| ", SECTIONS["Errors"], re.MULTILINE))
    known = {name: getattr(errors, name) for name in errors.__all__}
    assert told == {
        name: ", ".join(f"`{base.__name__}`" for base in each.__bases__) for name, each in known.items()
    }


COMMANDS = dict(commands_of(typer.main.get_command(cli), "kumofire"))
DATABASE = {"--db", "--d1", "--local", "--remote", "--config", "--env", "--persist-to", "--cost"}
"""What the page calls DATABASE in the rows of commands."""


def test_the_options_that_name_a_database_are_told_once() -> None:
    (said,) = re.findall(r"(?ms)^DATABASE stands for (.*?)\n\n", SECTIONS["The command line"])
    assert set(re.findall(r"`(-[\w-]+)`", said)) == DATABASE


@pytest.mark.parametrize(
    ("name", "command"),
    list(COMMANDS.items()),
    ids=named,
)
def test_every_command_is_there_with_its_options_and_defaults(name: str, command: Any) -> None:
    rows = re.findall(
        rf"^\| `({name}(?: [A-Z\[][^`]*)?)` \| (.*?) \| ", SECTIONS["The command line"], re.MULTILINE
    )
    assert len(rows) == 1
    told = set(re.findall(r"`(-[\w-]+)`", rows[0][1])) | (DATABASE if "DATABASE" in rows[0][1] else set())
    options = options_of(command)
    assert told == {spelled for each in options for spelled in (*each.opts, *each.secondary_opts)}
    bold = set(re.findall(r"\*\*`(-[\w-]+)`\*\*", rows[0][1]))
    assert bold == {each.opts[0] for each in options if each.required}
    for each in options:
        if each.default is not None and not isinstance(each.default, bool):
            number = f"{each.default:g}" if isinstance(each.default, float) else each.default
            assert re.search(rf"`{each.opts[0]}` \(`?{number}\b", rows[0][1]), each.opts


def test_every_option_is_there_with_the_meaning_that_its_command_s_help_has() -> None:
    assert renewed(PAGE) == PAGE, "make options writes it anew"


def values(what: str) -> set[str]:
    """Return the options that take a value which is written so."""
    (row,) = re.findall(rf"(?m)^\| {what} \| .* \| (.*) \|$", SECTIONS["The command line"])
    return set(re.findall(r"`(--[\w-]+)`", row))


def test_how_values_are_written_is_told_of_the_options_that_take_them() -> None:
    options = [each for command in COMMANDS.values() for each in options_of(command)]
    several = {each.opts[0] for each in options if each.multiple}
    assert values("several values") == several
    durations = {each.opts[0] for each in options if re.search(r"\b15m, ", each.help)}
    assert values("a duration") == durations
    seconds = {each.opts[0] for each in options if isinstance(each.default, float)}
    assert values("seconds") == seconds
    with pytest.raises(errors.InvalidArgument):
        duration_of("1h30m", "it")


def default(function: Any, name: str) -> Any:
    """Return the default of a parameter."""
    return inspect.signature(function).parameters[name].default


def test_every_default_that_matters_is_there() -> None:
    told = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", SECTIONS["Defaults"], re.MULTILINE))
    backoff, workers, open_ = kumofire_fsm.Backoff(), WORKERS, kumofire_fsm.Kumofire.open
    jobs = kumofire_fsm.EmbeddedJobs
    rule = recurrence_from_options({"cron": "0 5 * * *"}, 0)
    known = {
        "attempts of a run": default(kumofire_fsm.Kumofire, "max_attempts"),
        "one call of a handler may take": f"{default(kumofire_fsm.Kumofire, 'timeout'):g} s",
        "the wait before the second attempt": f"a random part of {backoff.first.total_seconds():g} s",
        "the wait before each further one": (
            f"up to {backoff.factor:g} times as long, at most {backoff.cap.total_seconds() / 3600:g} h"
        ),
        "settled runs are deleted": "never: nothing is pruned",
        "a run expires": {None: "never"}[default(jobs.create, "expires_at")],
        "a dedupe key is held": f"`{shown(default(jobs.create, 'dedupe'))}`",
        "a handler that is told to stop may go on for": f"{EMBEDDED.grace_ms // 1000} s",
        "when a worker ends, handlers may go on for": f"{default(jobs.run, 'grace'):g} s",
        "a worker's lease lasts, unless it is renewed": f"{EMBEDDED.lease_ms / 1000:g} s on a file",
        "a lease on Workers lasts": (
            f"the timeout and {workers.slack_ms // 1000} s; in a batch {workers.batch_wait_ms // 1000} s more"
        ),
        "a run whose worker died waits, at first": f"{workers.lost_ms // 1000} s, doubling",
        "a lost message is sent again after": f"{workers.redeliver_ms // 1000} s, doubling",
        "handlers of one worker at once": (
            f"{default(jobs.run, 'concurrency')}; of a batch {default(jobs.consume_batch, 'concurrency')}"
        ),
        "runs of a job at once, and starts in a time": {None: "any number"}[
            default(kumofire_fsm.Kumofire.job, "limit")
            or default(kumofire_fsm.Kumofire.job, "rate")
            or default(kumofire_fsm.Kumofire.job, "key_limit")
        ],
        "priority": f"`{shown(default(kumofire_fsm.Kumofire.job, 'priority'))}`",
        "`wait` and `result` wait": {None: "for ever"}[
            default(jobs.wait, "timeout") or default(jobs.result, "timeout")
        ],
        "a commit on a file waits for the disk": f"`{shown(default(open_, 'synchronous'))}`",
        "a schedule's zone": rule.rule.timezone,
        "an occurrence counts as missed after": f"{rule.grace_ms // 1000} s",
        "of missed occurrences run": f"`{shown(rule.misfire)}`",
        "an occurrence while the previous run goes on": f"`{shown(rule.overlap)}`",
        "declared schedules are stored": (
            {True: "by `kumofire worker`"}[default(worker_command, "sync_schedules")]
            + {False: "; by `open` not"}[default(open_, "sync_schedules")]
        ),
    }
    del told["what"]
    assert told == {what: str(value) for what, value in known.items()}


def test_every_limit_is_there() -> None:
    table = SECTIONS["Limits"]
    said = {
        "PAYLOAD_BYTES": f"{limits.PAYLOAD_BYTES // 1024} KB",
        "RESULT_BYTES": f"{limits.RESULT_BYTES // 1024} KB",
        "ERROR_BYTES": f"{limits.ERROR_BYTES // 1024} KB",
        "ERROR_LINE": f"{limits.ERROR_LINE} characters",
        "PROGRESS_BYTES": f"{limits.PROGRESS_BYTES // 1024} KB",
        "FACTS_BYTES": f"{limits.FACTS_BYTES // 1024} KB",
        "HISTORY_CAP": f"{limits.HISTORY_CAP // 1024 + 2} KB",
        "INLINE_BYTES": f"{limits.INLINE_BYTES} bytes",
        "KEY_LENGTH": f"{limits.KEY_LENGTH} characters",
        "LIMIT_MAX": f"1 to {limits.LIMIT_MAX:,}",
        "PRIORITIES": "`{}`, `{}` or `{}`".format(*limits.PRIORITIES),
        "HEAD_START_MS": f"| {limits.HEAD_START_MS // 1000} s |",
        "LOOK_ROWS": f"| {limits.LOOK_ROWS:,} |",
        "TAG_COUNT": f"| {limits.TAG_COUNT}, of {limits.TAG_LENGTH} characters each",
        "TAG_LENGTH": f"of {limits.TAG_LENGTH} characters each",
        "JSON_DEPTH": f"| {limits.JSON_DEPTH} |",
        "SAFE_INTEGER": f"2^{limits.SAFE_INTEGER.bit_length()} - 1",
        "ANSWER_BYTES": f"{limits.ANSWER_BYTES // 1024**2} MB, and the rest of a row",
        "SQL_BYTES": f"| one statement's text on D1 | {limits.SQL_BYTES // 1000} KB",
        "STATEMENT_BYTES": f"{limits.STATEMENT_BYTES // 1024**2} MB",
        "INVOCATION_MS": f"| {limits.INVOCATION_MS // 60_000} minutes",
        "D1_STATEMENTS": f"| {limits.D1_STATEMENTS}, or `max_statements`",
        "SIGNAL_BYTES": f"| what a signal to a flow carries | {limits.SIGNAL_BYTES // 1024} KB",
        "MAIL_LETTERS": f"| signals that an instance keeps | {limits.MAIL_LETTERS} |",
        "MATCH_RUNS": f"| runs that one `match_runs` finds | {limits.MATCH_RUNS:,} |",
        "PRUNE_RUNS": f"| settled runs that a tick deletes | {limits.PRUNE_RUNS} |",
        "MOVE_RUNS": f"| runs that one statement of `fire_all` moves | {limits.MOVE_RUNS} |",
        "KEPT_KEYS": f"| the latest {limits.KEPT_KEYS} |",
        "QUEUE_DELAY_S": f"{limits.QUEUE_DELAY_S // 3600} h",
    }
    assert set(said) == set(limits.__all__)
    assert [name for name, text in said.items() if text not in table] == []


def test_what_is_inside_is_no_longer_listed_when_it_is_gone() -> None:
    assert [name for name in INSIDE if not hasattr(CLASSES[name.split(".")[0]], name.split(".")[1])] == []
