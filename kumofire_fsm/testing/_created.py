"""Finds the runs that an application created, as an assertion says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.engine.reading import read_run
from kumofire_fsm.models import RunOptions, RunStatus
from kumofire_fsm.runs.lookup import RunLookup
from kumofire_fsm.runs.status import run_status
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.values.checks import check_options, whole_number
from kumofire_fsm.values.limits import LIMIT_MAX
from kumofire_fsm.values.times import duration_ms

__all__ = ["created_by", "find_created"]


async def find_created(
    binding: Binding, name: Any, payload: Any, times: int, options: Mapping[str, Any]
) -> list[RunStatus]:
    """Return the runs of a job, oldest first, that were created as is said.

    Raises:
        AssertionError: there are more or fewer than ``times``.
    """
    job = binding.registry.get(name)
    if times != 0:
        whole_number(times, "times", LIMIT_MAX)
    wanted = _checked(options)
    text = None if payload is ... else job.encode_payload(payload)
    rows = [await read_run(binding, each, results=True) for each in await created_by(binding, job)]
    runs = [(row, run_status(binding, row)) for row in rows]
    found = [run for row, run in runs if _carries(row, text) and _is_so(run, wanted)]
    if len(found) == times:
        return found
    said = [f"{option}={value!r}" for option, value in wanted.items()]
    said[:0] = [] if text is None else [f"payload={payload!r}"]
    of = f"{job.name!r}{' with ' if said else ''}{', '.join(said)}"
    there = "".join(f"\n  {_shown(run, wanted)}" for _, run in runs) or " none"
    raise AssertionError(f"runs of {of}: expected {times}, found {len(found)}; its runs are{there}")


async def created_by(binding: Binding, job: Definition | None = None) -> list[str]:
    """Return the ids of all runs, or of a job's, oldest first."""
    lookup, cursor, ids = RunLookup(binding), None, list[str]()
    while True:
        page = await lookup.list_runs(name=None if job is None else job.name, cursor=cursor, limit=500)
        ids += [run.kumofire_job_run_id for run in page.runs]
        if (cursor := page.cursor) is None:
            return ids[::-1]


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were said, as a run's status has them."""
    known = RunOptions.__annotations__.keys() - {"dedupe"}
    check_options("assert_created", options, known)
    said = {option: value for option, value in options.items() if value is not None}
    if "tags" in said:
        said["tags"] = tuple(said["tags"])
    return said


def _carries(row: RunRow, text: str | None) -> bool:
    return text is None or json.loads(row.payload or "null") == json.loads(text)


def _is_so(run: RunStatus, wanted: Mapping[str, Any]) -> bool:
    return all(_matches(run, option, value) for option, value in wanted.items())


def _matches(run: RunStatus, option: str, value: Any) -> bool:
    if option == "delay":
        return round((run.run_at - run.created_at).total_seconds() * 1000) == duration_ms(value, "delay")
    return bool(getattr(run, option) == value)


def _shown(run: RunStatus, wanted: Mapping[str, Any]) -> str:
    """Return what an assertion's error says of a run: what tells it from others, and what was asked for."""
    more = [f"{option}={getattr(run, option)!r}" for option in wanted if option != "delay"]
    delay = f"delay={(run.run_at - run.created_at).total_seconds():g}"
    payload = "payload not shown" if run.payload_left_out else f"payload={run.payload!r:.200}"
    return ", ".join([payload, delay, *more, f"state={run.state!r}"])
