"""Importing the package asks nothing of the world: Workers refuse randomness and clocks at import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FORBID = """
import os, random, sys, time, uuid
import {first}
def refuse(name):
    def call(*args, **options):
        raise RuntimeError(name + " was called at import")
    return call
class SystemRandom(random.Random):
    def __new__(cls, *args):
        raise RuntimeError("random.SystemRandom was made at import")
os.urandom = refuse("os.urandom")
os.getrandom = refuse("os.getrandom")
random.SystemRandom = SystemRandom
random.random = refuse("random.random")
uuid.uuid1 = refuse("uuid.uuid1")
uuid.uuid4 = refuse("uuid.uuid4")
for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"):
    setattr(time, name, refuse("time." + name))
"""
PACKAGE = "from kumofire_fsm import Kumofire, Jobs, BoundJobs, RunMachine\n"
"""What an application imports, and with it the package: its other names are imported when they are asked for."""
SUBCLASS = """
from kumofire_fsm.machines import Deadline, Event, State, Role, RunMachine
class Approved(RunMachine):
    approval = State(role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready))
"""


def run(script: str) -> str:
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def loaded(script: str) -> set[str]:
    """Return the modules that a script has imported when it ends."""
    return set(json.loads(run(script + "\nimport json, sys; print(json.dumps(sorted(sys.modules)))")))


# The standard library's logging reads the clock when it is imported; on Workers it is in the snapshot.
@pytest.mark.parametrize(
    "script",
    ["import kumofire_fsm.machines", PACKAGE, PACKAGE + SUBCLASS],
    ids=["the machines", "the package", "a lifecycle that inherits"],
)
def test_importing_calls_no_clock_and_no_randomness(script):
    run(FORBID.format(first="logging") + script)


def test_importing_with_the_clock_and_the_randomness_of_the_issue_raising():
    run(
        "import os, time\n"
        "def refuse(*args):\n    raise RuntimeError\n"
        "import logging\n"
        "os.urandom = time.time = refuse\n" + PACKAGE
    )


def test_importing_the_package_does_not_import_pydantic():
    assert not {name for name in loaded(PACKAGE) if name.split(".")[0] == "pydantic"}


def test_importing_the_machines_imports_no_database_no_loop_and_no_third_package():
    modules = {name.split(".")[0] for name in loaded("import kumofire_fsm.machines.spec")}
    assert not modules & {"pydantic", "croniter", "typer", "rich", "graphviz"}


def test_a_schedule_is_checked_at_import_without_a_clock() -> None:
    declared = """
from kumofire_fsm import Kumofire
from kumofire_fsm.errors import InvalidSchedule
app = Kumofire()
app.schedule(cron="0 5 29 2 *", timezone="Europe/Berlin", jitter=5)
app.schedule(every=60)
try:
    app.schedule(cron="0 5 31 2 *")
except InvalidSchedule:
    print("refused")
"""
    assert run(FORBID.format(first="logging") + declared) == "refused\n"
