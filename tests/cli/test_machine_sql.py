"""`kumofire machine sql`: what it prints is what the database executes, each statement under a sentence."""

from __future__ import annotations

import re
import sqlite3
import sys

import pytest
from typer.testing import CliRunner

from kumofire_fsm.cli.commands import cli
from kumofire_fsm.engine.binding import WORKERS
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.store.schema import migrate

RUNS, JOBS = RunStatements([RunMachine.spec]), ScheduleStatements(JobMachine.spec)
SHOP = """
from kumofire_fsm import Kumofire
from kumofire_fsm.machines import Event, Role, RunMachine, State

class Approved(RunMachine):
    approval = State(role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready), doc="A person agrees.")

empty, app = Kumofire(), Kumofire()
for name, machine in {"a": Approved, "b": RunMachine}.items():
    app.job(name, machine=machine)(lambda ctx: None)
"""


class NoStorage:
    """Stands for a database that nobody asks."""


def printed(*arguments: str) -> list[tuple[str, str, str]]:
    """Return the name, the sentence and the SQL of each statement that the command prints."""
    done = CliRunner().invoke(cli, ["machine", "sql", *arguments])
    if done.exception:
        raise done.exception
    found = re.findall(r"^-- (\S+): ([^\n]+)\n(.*?);\n(?:\n|\Z)", done.stdout, re.MULTILINE | re.DOTALL)
    assert "".join(f"-- {name}: {says}\n{sql};\n\n" for name, says, sql in found)[:-1] == done.stdout
    return found


@pytest.fixture
def shop(tmp_path, monkeypatch, request):
    name = f"shop_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    yield name


@pytest.mark.parametrize("target", ["RunMachine", "JobMachine", "kumofire_fsm:RunMachine"])
def test_every_statement_prepares_and_has_a_name_and_a_sentence(target):
    db = sqlite3.connect(":memory:")
    migrate(db)
    found = printed(target)
    assert len(found) >= 17
    for name, says, sql in found:
        db.execute(f"EXPLAIN {sql}", {"1": "[]"} if "?1" in sql else ())
        noun, _, verb = name.partition(".")
        assert noun in ("runs", "bodies", "controls", "paces", "overview", "schedules", "run", "job")
        assert verb
        assert re.fullmatch(r"[A-Z].*[.)]", says)
    db.close()


@pytest.mark.parametrize("event", [event.id for event in RunMachine.spec.events])
def test_one_event_of_a_run_gives_what_fires_it(event):
    found = [sql for _, _, sql in printed("RunMachine", event)]
    claim = {"now": 1, "token": "", "alone": True, "jobs": {}}
    sweeps = {
        hints: RUNS.sweep(None, hints=hints, timing={}, now=1, limit=1, jobs=[]).sql
        for hints in ("all", "moves", "none")
    }
    some = RUNS.sweep([], hints="all", timing={}, now=1, limit=1, jobs=[]).sql
    keys = {"key_limits": {"a job": 1}}
    keyed = RUNS.sweep(None, hints="all", timing={}, now=1, limit=1, jobs=[], **keys).sql
    holding = [RUNS.claim(ids, **claim, **keys).sql for ids in ([], None)]
    expected = {
        "start": [RUNS.claim([], **claim).sql, RUNS.claim(None, **claim).sql, *holding],
        "hold_back": holding,
        "admit": [RUNS.admit([], timing={}, now=1).sql],
        "enqueue": [sweeps["all"], some, keyed, sweeps["moves"]],
        "redeliver": [sweeps["all"], some, keyed],
        "lose": [sweeps["all"], some, keyed, sweeps["moves"], sweeps["none"]],
        "expire": [sweeps["all"], some, keyed, sweeps["moves"], sweeps["none"]],
    }
    fenced = event not in ("nudge", "cancel", "reschedule", "redrive")
    if event not in expected:
        expected[event] = [RUNS.fire([event], [], fenced=fenced).sql]
    assert found == expected[event]


@pytest.mark.parametrize("event", [event.id for event in JobMachine.spec.events])
def test_one_event_of_a_recurring_job_gives_its_statement(event):
    assert [sql for _, _, sql in printed("JobMachine", event)] == [JOBS.fire([event], []).sql]


def test_the_mixed_settle_is_the_one_that_a_consumer_sends():
    endings = ["fail", "release", "retry", "snooze", "stop", "succeed"]
    (found,) = [sql for name, _, sql in printed("RunMachine") if "+" in name]
    assert found == RUNS.fire(endings, [], fenced=True).sql


def test_an_event_of_one_s_own_is_told_with_its_doc(shop):
    ((name, says, sql),) = printed(f"{shop}:Approved", "approve")
    assert (name, says) == ("runs.approve", "A person agrees. Sent when a person asks for it.")
    assert "  AND r.machine IN ('approved')\n  AND +r.state = 'approval'\n" in sql


def test_an_application_sends_statements_for_all_of_its_machines_and_for_recurring_jobs(shop):
    found = printed(f"{shop}:app")
    app = sys.modules[shop].app
    binding = app.binding(NoStorage(), None, None, WORKERS)
    sent = [binding.runs.fire(["succeed"], [], fenced=True), binding.schedules.fire(["pause"], [])]
    assert {(each.name, each.sql) for each in sent} <= {(name, sql) for name, _, sql in found}
    assert "r.machine IN ('run', 'approved')" in sent[0].sql
    assert {"run.count", "approved.count", "job.count"} <= {name for name, _, _ in found}


def test_an_application_without_jobs_can_still_show_what_it_sends(shop):
    assert printed(f"{shop}:empty") == printed("RunMachine") + printed("JobMachine")


def test_an_unknown_event_is_refused_with_those_that_exist():
    with pytest.raises(InvalidArgument) as refused:
        printed("JobMachine", "fly")
    events = ", ".join(sorted(event.id for event in JobMachine.spec.events))
    assert str(refused.value) == f"no statement fires 'fly'; the events are {events}"


def test_of_a_flow_it_prints_what_moves_its_instances():
    (pay,) = printed("flows:Entity", "pay")
    assert pay[0] == "runs.pay"
    assert "r.step = 'placed'" in pay[2]
    assert {"runs.advance", "runs.rest", "runs.pay", "runs.ship"} <= {
        name for name, _, _ in printed("flows:Entity")
    }
