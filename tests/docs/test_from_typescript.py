"""The page for those who come from TypeScript: the calls run, every one is named, and every name of ours exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import files, page, played, sessions

import kumofire_fsm
from kumofire_fsm.schedules.rows import Schedule

PAGE = page("from-kumofire-jobs.md")
EXPORTED = [
    "createCloudflareRuntime",
    "runtime.bind",
    "runtime.dispatchScheduled",
    "runtime.consumeBatch",
    "createJobs",
    "createD1StorageAdapter",
    "createCloudflareQueueAdapter",
    "createInMemoryStorageAdapter",
    "createInMemoryQueueAdapter",
    "getReferenceSchemaSql",
    "schemaMigrations",
    "requiredSchemaVersion",
    "jobMessageVersion",
    "jobs.create",
    "jobs.getStatus",
    "jobs.dispatch",
    "jobs.consume",
    "jobs.createSchedule",
    "jobs.getSchedule",
    "jobs.getScheduleByKey",
    "jobs.updateSchedule",
    "jobs.updateScheduleByKey",
    "jobs.upsertSchedule",
    "jobs.disableSchedule",
    "jobs.disableScheduleByKey",
]
"""The functions of @kumofire/jobs 0.1.9, and the methods of what they return."""
OWNERS = {"jobs": kumofire_fsm.BoundJobs, "app": kumofire_fsm.Kumofire}


def test_the_calls_print_what_the_page_says(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["jobs.py", "entry.py", "calls.py"]
    compile(files(PAGE)["entry.py"], "entry.py", "exec")
    assert played(PAGE, tmp_path) == sessions(PAGE)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_call_of_the_typescript_library_has_its_row(name: str) -> None:
    assert re.search(rf"^\|.*`{re.escape(name)}\b.*\|.*\|.*\|$", PAGE, re.MULTILINE)


def test_every_call_that_stands_in_its_place_exists() -> None:
    right = " ".join(line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"\b(jobs|app)\.(\w+)", right))
    assert len(named) > 10
    assert [
        each for each in named if each[1] not in ("app", "md", "db") and not hasattr(OWNERS[each[0]], each[1])
    ] == []


def test_every_field_of_a_schedule_and_of_a_status_exists() -> None:
    for heading, record in (("`get_status` here", kumofire_fsm.RunStatus), ("`Schedule` here", Schedule)):
        table = PAGE.split(f"| {heading} |\n")[1].split("\n\n")[0]
        fields = re.findall(r"`(\w+)`", " ".join(row.split("|")[2] for row in table.splitlines()))
        states = {"active", "paused", "suspended", "ended"}
        assert set(fields) - states - set(record.__dataclass_fields__) == set()
