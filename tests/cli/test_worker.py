"""``kumofire worker``: it says what it serves, serves what it is told, and logs lines of JSON."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import kumofire
from scripts import ROOT

from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.cli.worker import JsonFormatter

SHOP = """
from kumofire_fsm import Fail, Kumofire

app = Kumofire()

@app.job("mail")
def mail(ctx):
    raise Fail("no such mailbox")

@app.job("report")
def report(ctx): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "worker_shop.py").write_text(SHOP)
    yield tmp_path


def logged(folder: Path, *options: str) -> tuple[list[str], str, str]:
    """Run a worker until the run of "mail" is settled; return its log, and how both runs stand."""
    app = load_app("worker_shop:app")
    with app.open_sync("jobs.db") as jobs:
        mail, report = (jobs.create(name).kumofire_job_run_id for name in ("mail", "report"))
        command = [sys.executable, "-m", "kumofire_fsm.cli", "worker", "worker_shop:app", "--db", "jobs.db"]
        process = subprocess.Popen(
            [*command, *options], cwd=folder, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
        )
        try:
            jobs.wait(mail, timeout=600)
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=600)
        assert process.returncode == 0
        return err.splitlines(), jobs.get_status(mail).state, jobs.get_status(report).state


def test_a_worker_says_what_it_serves_and_logs_lines_of_json(folder: Path) -> None:
    lines, mail, report = logged(
        folder, "--jobs", "mail", "--log-format", "json", "--concurrency", "7", "--verbose"
    )
    assert (mail, report) == ("failed", "queued")
    first, second, *others = map(json.loads, lines)
    assert first["message"].startswith("opening jobs.db: lease 15 s, grace 10 s, process ")
    assert (first["level"], first["logger"]) == ("INFO", "kumofire_fsm.worker")
    assert second["message"] == "a worker starts: 7 handlers at once; jobs: mail; left to others: report"
    assert (second["level"], second["logger"]) == ("INFO", "kumofire_fsm.embedded")
    (failed,) = [each for each in others if each["level"] == "ERROR"]
    assert (failed["logger"], failed["job"], failed["attempt"]) == ("kumofire_fsm.work", "mail", 1)
    assert failed["message"].startswith(
        f"run {failed['run_id']} of job 'mail' failed for good: Fail: no such"
    )
    started, ended = [each for each in others if each["level"] == "DEBUG"]
    assert started["message"] == f"run {ended['run_id']} of job 'mail': attempt 1 of 3 starts"
    assert ended["message"] == (
        f"run {ended['run_id']} of job 'mail': attempt 1 of 3 ended with 'fail' after {ended['seconds']:.3f} s"
    )
    assert 0 <= ended["seconds"] < 600


def test_a_record_is_one_line_of_json_whatever_it_carries() -> None:
    record = logging.makeLogRecord(
        {"name": "shop", "levelname": "WARNING", "msg": "two\nlines of %s", "args": ("é",), "what": {1, 2}}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": json.loads(line)["time"], "level": "WARNING", "logger": "shop",
        "message": "two\nlines of é", "what": "{1, 2}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--jobs", "nothing"], "no job 'nothing' is registered"),
        (["--jobs", " , "], "--jobs must name jobs, with commas between them; found ' , '"),
        (["--log-format", "xml"], "--log-format must be text or json; found 'xml'"),
    ],
)
def test_bad_options_are_refused_before_the_file_is_made(folder: Path, options: list[str], said: str) -> None:
    done = kumofire(folder, "worker", "worker_shop:app", "--db", "new.db", "--create", *options)
    assert (done.code, said in done.err) == (2, True), done.err
    assert not (folder / "new.db").exists()
