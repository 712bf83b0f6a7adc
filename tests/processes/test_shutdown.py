"""The worker command ends in order on a signal, at once on the second, and refuses what it cannot use."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import kumofire

from kumofire_fsm import NewRun

HERE = Path(__file__).parent


LONG = 600.0
"""Seconds that a handler or a grace period lasts which nobody is to wait for: longer than `end` waits."""


def end(worker: subprocess.Popen[bytes]) -> None:
    """Check that a worker that was told to end does, with exit code 0."""
    assert worker.wait(timeout=600) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_handlers_finish_and_starts_no_others(site, number):
    with site.jobs() as jobs:
        created = jobs.create_many([NewRun("nap", 0.6), NewRun("plain", 0.6)])
        worker = site.worker(cli=True, concurrency=2, grace=LONG)
        site.until(lambda: len(site.notes("began")) == 2, "two handlers have begun")
        created.append(jobs.create("nap", 0.01))
        worker.send_signal(number)
    end(worker)
    first, second, third = (site.row(each.kumofire_job_run_id) for each in created)
    assert (first["state"], second["state"]) == ("succeeded", "succeeded")
    assert (third["state"], third["attempt"], third["starts"]) == ("queued", 0, 0)
    assert "Traceback" not in site.log(worker)


def test_what_is_not_finished_within_the_grace_period_is_released_and_starts_elsewhere_at_once(
    site, events_of
):
    with site.jobs() as jobs:
        runs = jobs.create_many([NewRun("nap", LONG, max_attempts=1), NewRun("plain", LONG, max_attempts=1)])
    worker = site.worker(cli=True, grace=0.3, lease=15)
    site.until(lambda: len(site.notes("began")) == 2, "both handlers have begun")
    worker.terminate()
    end(worker)
    now = time.time() * 1000
    for each in runs:
        row = site.row(each.kumofire_job_run_id)
        assert events_of(row)[-2:] == ["start", "release"]
        assert (row["state"], row["attempt"]) == ("queued", 0)
        assert row["wake_at"] <= now
    assert len(site.notes("cancelled")) == 1
    other = site.worker(lease=15)
    site.until(lambda: len(site.notes("began", pid=other.pid)) == 2, "both have begun elsewhere")


def test_a_second_signal_stops_at_once_and_releases(site):
    with site.jobs() as jobs:
        run = jobs.create("nap", LONG).kumofire_job_run_id
    worker = site.worker(cli=True, grace=LONG)
    site.until(lambda: site.notes("began"), "the handler has begun")
    worker.terminate()
    worker.send_signal(signal.SIGINT)  # another kind: two of one kind may arrive as one
    end(worker)
    row = site.row(run)
    assert (row["state"], row["attempt"]) == ("queued", 0)


@pytest.mark.parametrize("signals", [1, 2])
def test_a_handler_that_ignores_its_cancellation_does_not_hold_the_worker(site, signals):
    with site.jobs() as jobs:
        run = jobs.create("stubborn").kumofire_job_run_id
    worker = site.worker(cli=True, grace=0.3 if signals == 1 else LONG)
    site.until(lambda: site.notes("began"), "the handler has begun")
    worker.terminate()
    if signals == 2:
        worker.send_signal(signal.SIGINT)
    end(worker)
    row = site.row(run)
    assert (row["state"], row["attempt"]) == ("queued", 0)


def test_an_idle_worker_ends_at_once(site):
    worker = site.worker(cli=True)
    worker.terminate()
    end(worker)
    assert "Traceback" not in site.log(worker)


def test_what_the_command_cannot_use_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "notes.txt").write_text("Dear diary, " * 1000)
    good, db = "crew:app", tmp_path / "jobs.db"
    cases = {
        "cannot be imported": ["no_such_module:app", "--db", db],
        "MODULE:APP": ["crew", "--db", db],
        "has no 'absent'; it has app": ["crew:absent", "--db", db],
        "not a Kumofire": ["crew:NOT_AN_APP", "--db", db],
        "directory": [good, "--db", tmp_path / "nowhere" / "jobs.db", "--create"],
        f"there is no database {tmp_path / 'typo.db'}; give the path": [good, "--db", tmp_path / "typo.db"],
        "not a SQLite database": [good, "--db", tmp_path / "notes.txt"],
        "concurrency": [good, "--db", db, "--create", "--concurrency", "0"],
        "lease": [good, "--db", db, "--create", "--lease", "0"],
        "grace": [good, "--db", db, "--create", "--grace", "-1"],
    }
    for says, arguments in cases.items():
        done = kumofire(HERE, "worker", *arguments)
        lines = [line for line in done.err.splitlines() if line]
        assert (done.code, len(lines)) == (2, 1), (says, done)
        assert lines[0].startswith("kumofire: "), done
        assert says in lines[0]
    assert not (tmp_path / "typo.db").exists()


def test_a_signal_while_the_hooks_still_start_lets_them_finish_and_ends(tmp_path):
    command = [
        sys.executable,
        "-m",
        "kumofire_fsm.cli",
        "worker",
        "slow_start:app",
        "--db",
        str(tmp_path / "j.db"),
        "--create",
    ]
    with subprocess.Popen(
        command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begins\n"
        worker.terminate()
        assert worker.communicate(timeout=600)[0] == "began\nended\n"
        assert worker.returncode == 0


def test_a_second_signal_ends_a_lifespan_that_waits_for_ever(tmp_path):
    (tmp_path / "waits.py").write_text(
        """import asyncio
from kumofire_fsm import Kumofire

app = Kumofire()


@app.lifespan
async def lifespan(jobs):
    print("waits", flush=True)
    try:
        await asyncio.sleep(3600)
        yield
    finally:
        print("tidied up", flush=True)
"""
    )
    command = [sys.executable, "-m", "kumofire_fsm.cli", "worker", "waits:app", "--db", "j.db", "--create"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "waits\n"
        worker.terminate()
        time.sleep(0.5)
        assert worker.poll() is None, "the first signal waits for it"
        worker.terminate()
        out, err = worker.communicate(timeout=600)
        assert (out, worker.returncode) == ("tidied up\n", 0)
        assert err.rstrip().endswith("told twice to end, and its lifespan was canceled")
        assert "Traceback" not in err
