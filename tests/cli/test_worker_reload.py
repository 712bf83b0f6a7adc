"""``kumofire worker --reload``: a real worker that begins again with changed code, after it has drained."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import kumofire
from scripts import ROOT

from kumofire_fsm import Kumofire
from kumofire_fsm.cli import reload

SHOP = """
import asyncio
from pathlib import Path

from kumofire_fsm import Kumofire
from parts.says import SAYS

app = Kumofire()

@app.job("say")
def say(ctx):
    return SAYS

@app.job("hold")
async def hold(ctx):
    Path("held").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return SAYS
"""


class Log:
    """What a process wrote on its standard error so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []

    def until(self, *texts: str) -> None:
        """Read on until a line has all these texts."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if all(text in line for text in texts):
                return
        raise AssertionError(f"it ended without {texts}: {''.join(self.lines)[-3000:]}")


@contextmanager
def reloader(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Log]]:
    """A worker of the shop that begins again when the code changes; it ends with the test, whatever happens."""
    says = folder / "parts" / "says.py"
    says.parent.mkdir()
    says.write_text("SAYS = 'one'\n")
    (folder / "reload_shop.py").write_text(SHOP)
    command = [sys.executable, "-m", "kumofire_fsm.cli", "worker", "reload_shop:app", "--db", "jobs.db"]
    process = subprocess.Popen(
        [*command, "--reload", "--grace", "600"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    try:
        yield process, Log(process)
    finally:
        (folder / "go").touch()  # for a handler that a failed test has left under way
        process.terminate()
        process.communicate(timeout=600)


def until_held(folder: Path) -> None:
    """Return once the handler that holds is under way."""
    while not (folder / "held").exists():
        time.sleep(0.01)


def test_a_worker_begins_again_with_changed_code_once_what_is_under_way_has_ended(tmp_path: Path) -> None:
    app = Kumofire()
    app.job("say")(lambda ctx: None)
    app.job("hold")(lambda ctx: None)
    says = tmp_path / "parts" / "says.py"
    with app.open_sync(tmp_path / "jobs.db") as jobs:

        def said(name: str = "say", run_id: str | None = None) -> tuple[str, int]:
            found = jobs.wait(run_id or jobs.create(name).kumofire_job_run_id, timeout=600)
            return found.result, found.attempt

        with reloader(tmp_path) as (worker, log):
            assert said() == ("one", 1)
            held = jobs.create("hold").kumofire_job_run_id
            until_held(tmp_path)
            says.write_text("SAYS = 'number two'\n")
            log.until("changed: parts/says.py; the worker begins again")
            (tmp_path / "go").touch()
            assert said(run_id=held) == ("one", 1), (
                "the handler that was under way has finished, by the old code"
            )
            assert said() == ("number two", 1)

            says.write_text("SAYS = \n")
            log.until("the worker has ended with code 1; it begins again once the code changes")
            assert any("SyntaxError" in line for line in log.lines)
            says.write_text("SAYS = 'the third'\n")
            assert said() == ("the third", 1)
        assert worker.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX alone has SIGKILL")
def test_a_worker_ends_in_order_when_its_reloader_is_killed(tmp_path: Path) -> None:
    app = Kumofire()
    app.job("hold")(lambda ctx: None)
    with app.open_sync(tmp_path / "jobs.db") as jobs, reloader(tmp_path) as (process, log):
        held = jobs.create("hold").kumofire_job_run_id
        until_held(tmp_path)
        process.kill()
        log.until("the process that began this worker is gone, so the worker ends")
        (tmp_path / "go").touch()
        assert process.stderr is not None
        rest = process.stderr.read()  # to the end: the worker has closed it, too
        assert jobs.get_status(held).state == "succeeded", rest


def test_what_is_not_the_applications_code_is_not_looked_at(tmp_path: Path) -> None:
    for name in ("shop.py", "parts/more.py", "notes.txt", ".venv/lib/a.py", "node_modules/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    seen = reload._seen(tmp_path)
    assert sorted(seen) == [str(tmp_path / "parts/more.py"), str(tmp_path / "shop.py")]


def test_a_change_is_one_once_the_files_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = ({"shop.py": (each, each)} for each in (1, 2, 3))
    looks = iter([one, two, three, three, three])
    monkeypatch.setattr(reload, "_seen", lambda folder: next(looks))
    monkeypatch.setattr(reload.time, "sleep", lambda seconds: None)
    found = reload._looks(tmp_path)
    assert [next(found) for _ in range(5)] == [None, None, None, three, three]


def test_a_file_that_is_not_there_is_refused_and_nothing_is_watched(tmp_path: Path) -> None:
    done = kumofire(tmp_path, "worker", "reload_shop:app", "--db", "none.db", "--reload")
    assert (done.code, "there is no database" in done.err) == (2, True)
