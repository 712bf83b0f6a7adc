"""The pytest plugin: what its fixtures give to tests with and without an event loop, and that it is harmless."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from scripts import PLUGIN, ROOT, run_pytest

APP = """
from kumofire_fsm import Kumofire, RunContext
app = Kumofire()
@app.job("mail")
async def mail(ctx: RunContext, to: str) -> str:
    if ctx.attempt == 1:
        raise ConnectionError("down")
    return f"{ctx.env}: {to}"
"""
TESTS = """
import asyncio
import pytest
from mails import app, mail

@pytest.fixture
def kumofire_env():
    return "a server"

def test_without_a_loop(kumofire_jobs, kumofire_clock):
    created = kumofire_jobs.create(mail, "ana", delay=3600)
    kumofire_jobs.assert_created("mail", "ana", delay=3600)
    assert kumofire_jobs.result(created) == "a server: ana"
    assert kumofire_clock.time.hour == 1 and kumofire_jobs.clock is kumofire_clock

def test_each_has_its_own(kumofire_jobs):
    assert kumofire_jobs.count_runs() == {}

def test_with_a_loop(kumofire_jobs):
    async def steps():
        await kumofire_jobs.create(mail, "ana")
        return [each.state for each in await kumofire_jobs.drain()]
    assert asyncio.run(steps()) == ["retrying", "succeeded"]
"""


def run(folder: Path, *arguments: str, fresh: bool = False, **files: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder with these files."""
    for name, text in files.items():
        file = folder / (f"{name}.py" if "." not in name else name)
        file.write_text(text)
    return run_pytest(folder, *arguments, fresh=fresh)


def test_it_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    assert declared == {"pytest11": {"kumofire": PLUGIN}}


def test_the_option_names_the_application_for_tests_with_and_without_a_loop(tmp_path: Path) -> None:
    configuration = {"pytest.ini": "[pytest]\nkumofire_app = mails:app\npythonpath = .\n"}
    done = run(tmp_path, mails=APP, test_mails=TESTS, **configuration)
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (0, "3 passed"), done.stdout


def test_a_fixture_gives_another_application_and_without_any_the_test_says_so(tmp_path: Path) -> None:
    tests = """
import pytest
from mails import app

class TestGiven:
    @pytest.fixture
    def kumofire_app(self):
        return app

    def test_it_is_opened(self, kumofire_jobs):
        assert kumofire_jobs.create("mail", "ana").is_new

def test_nobody_says_which(kumofire_jobs):
    pass

async def forgotten(jobs):
    jobs.assert_created("mail", times=3)

class TestForgotten(TestGiven):
    def test_it_is_told(self, kumofire_jobs):
        import asyncio
        asyncio.run(forgotten(kumofire_jobs))
"""
    done = run(tmp_path, "-o", "pythonpath=.", mails=APP, test_mails=tests)
    assert "set `kumofire_app = MODULE:APP` in pytest's configuration, or define a fixture" in done.stdout
    assert "assert_created() was not awaited, so nothing was done" in done.stdout
    assert done.stdout.splitlines()[-1].split(" in ")[0] == "3 passed, 2 errors"


def test_where_nobody_uses_it_nothing_of_the_package_is_imported(tmp_path: Path) -> None:
    tests = """
import sys

def test_it():
    ours = {name for name in sys.modules if name.startswith("kumofire_fsm")}
    assert ours == {"kumofire_fsm", "kumofire_fsm.errors", "kumofire_fsm.pytest_plugin"}
    assert not {"pydantic", "statemachine", "croniter", "sqlite3"} & set(sys.modules)
"""
    done = run(tmp_path, "--strict-markers", "--strict-config", fresh=True, test_it=tests)
    assert done.returncode == 0, done.stdout
