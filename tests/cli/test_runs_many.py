"""``kumofire runs cancel|redrive|reschedule`` on all that match: a count first, and a yes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Done, Terminal, kumofire

from kumofire_fsm import Kumofire


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app = Kumofire()
    for name in ("mail", "report"):
        app.job(name)(lambda ctx: None)
    with app.open_sync(tmp_path / "jobs.db") as jobs:
        for name in ("mail", "mail", "report"):
            jobs.create(name, delay=3600, tags=[name])
    return tmp_path


def call(folder: Path, *arguments: str, says: str | None = None) -> Done:
    stdin = None if says is None else Terminal(says)
    return kumofire(folder, "runs", *arguments, "--db", "jobs.db", stdin=stdin)


def states(folder: Path) -> list[str]:
    found = json.loads(call(folder, "list", "--json").out)["runs"]
    return sorted(f"{run['name']} {run['state']}" for run in found)


WAITING = ["mail ready", "mail ready", "report ready"]


def test_a_person_is_told_how_many_and_asked(folder: Path) -> None:
    refused = call(folder, "cancel", "--job", "mail", says="n\n")
    assert (refused.code, refused.out.strip()) == (1, "nothing was changed")
    assert "cancel 2 runs: 2 ready? [y/N]" in refused.err
    assert states(folder) == WAITING
    done = call(folder, "cancel", "--job", "mail", says="y\n")
    assert (done.code, done.out.strip()) == (0, "cancel: 2 of 2 runs: 2 ready")
    assert states(folder) == ["mail canceled", "mail canceled", "report ready"]


def test_where_nobody_can_be_asked_it_takes_yes(folder: Path) -> None:
    refused = call(folder, "cancel", "--job", "mail")
    assert (refused.code, refused.out, "add --yes" in refused.err) == (2, "", True)
    assert states(folder) == WAITING
    assert call(folder, "cancel", "--job", "mail", "--yes").code == 0


def test_json_tells_all_of_it_and_every_history_says_who(folder: Path) -> None:
    done = call(folder, "cancel", "--all", "--yes", "--by", "ann", "--note", "all wrong", "--json")
    assert json.loads(done.out) == {
        "event": "cancel", "matched": 3, "by_state": {"ready": 3}, "more": False,
        "moved": 3, "left": 0, "refused": 0,
    }  # fmt: skip
    for run in json.loads(call(folder, "list", "--json").out)["runs"]:
        assert run["history"][-1]["facts"] == {"by": "ann", "note": "all wrong"}


def test_by_a_filter_only_failed_runs_are_redriven_unless_a_state_is_named(folder: Path) -> None:
    call(folder, "cancel", "--all", "--yes")
    assert call(folder, "redrive", "--all", "--yes").out == "redrive: 0 of 0 runs\n"
    done = call(folder, "redrive", "--state", "canceled", "--tag", "report", "--yes")
    assert done.out == "redrive: 1 of 1 run: 1 canceled\n"


def test_runs_are_rescheduled(folder: Path) -> None:
    done = call(folder, "reschedule", "--job", "mail", "--in", "7d", "--yes", "--by", "ann")
    assert done == Done(0, "reschedule: 2 of 2 runs: 2 ready\n", "")
    assert call(folder, "list", "--older-than", "1h", "--json").out.split() == ['{', '"runs":', '[],', '"cursor":', 'null', '}']  # fmt: skip  # noqa: Q000


BAD = {
    "cancel": "say what to cancel: an ID, runs by --job, --state, --tag, --older-than and --error, or --all",
    "redrive --yes": "say what to redrive: an ID",
    "reschedule --in 1h": "say what to reschedule: an ID",
    "reschedule --job mail": "say when it is to run",
    "cancel x --job mail": "give an ID, or a filter, and not both",
    "cancel --state failed --yes": "'cancel' is not allowed from 'failed'",
    "cancel --older-than soon --yes": "--older-than must be a duration such as 90s",
    "redrive --job mail --step pack --yes": "--step goes with an ID",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_changes_nothing(folder: Path, command: str) -> None:
    done = call(folder, *command.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert BAD[command] in done.err
    assert states(folder) == WAITING
