"""A fault of the application is shown as its own traceback, whatever command meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Done, kumofire
from harness import Kit
from scripts import ROOT

from kumofire_fsm.cli import commands
from kumofire_fsm.errors import StoreError
from kumofire_fsm.values import error_text

FAULT = """\
Traceback (most recent call last):
  File "{folder}/{module}.py", line 1, in <module>
    import {module}_helper
  File "{folder}/{module}_helper.py", line 4, in <module>
    LIMIT = read()
            ^^^^^^
  File "{folder}/{module}_helper.py", line 2, in read
    return int("many")
           ^^^^^^^^^^^
ValueError: invalid literal for int() with base 10: 'many'
"""


def faulty(folder: Path, module: str) -> str:
    """Write a module that cannot be imported, and return what its fault looks like."""
    (folder / f"{module}.py").write_text(f"import {module}_helper\n")
    (folder / f"{module}_helper.py").write_text('def read():\n    return int("many")\n\nLIMIT = read()\n')
    return FAULT.format(folder=folder, module=module)


@pytest.mark.parametrize(
    "command",
    [
        ("worker", "{}:app", "--db", "jobs.db", "--create"),
        ("migrate", "{}:app", "--dir", "migrations"),
        ("diagram", "{}:Lifecycle"),
    ],
    ids=lambda command: command[0],
)
def test_a_fault_in_the_application_s_module_is_its_own_traceback(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    module = f"faulty_in_{command[0]}"
    fault = faulty(tmp_path, module)
    assert kumofire(tmp_path, *(each.format(module) for each in command)) == Done(1, "", fault)
    assert not (tmp_path / "jobs.db").exists()


def test_a_module_that_is_no_python_is_shown_where_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "no_python.py").write_text("from kumofire_fsm import Kumofire\napp = = Kumofire()\n")
    done = kumofire(tmp_path, "migrate", "no_python:app")
    assert done == Done(
        1,
        "",
        f'  File "{tmp_path}/no_python.py", line 2\n'
        "    app = = Kumofire()\n          ^\nSyntaxError: invalid syntax\n",
    )


def test_a_fault_of_our_own_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(commands, "cli", broken)
    monkeypatch.setattr(error_text, "_HIDDEN", (str(ROOT),))  # these tests count as ours
    done = kumofire(tmp_path, "stats")
    assert done.code == 1
    assert "commands.py" in done.err
    assert done.err.endswith("RuntimeError: a defect\n")


def test_what_the_package_refuses_is_one_line_and_says_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        exc = StoreError("the file is locked")
        exc.add_note("(raised by the application's lifespan, at its start)")
        raise exc

    monkeypatch.setattr(commands, "cli", refused)
    text = "kumofire: the file is locked\n(raised by the application's lifespan, at its start)\n"
    assert kumofire(tmp_path, "stats") == Done(2, "", text)


LIFESPAN = """
import os
import signal

from kumofire_fsm import Kumofire

app = Kumofire()


@app.lifespan
async def lifespan(jobs):
    if os.environ["BROKEN"] == "start":
        raise ConnectionError("no network")
    os.kill(os.getpid(), signal.SIGTERM)
    yield
    raise ConnectionError("it was closed already")
"""


@pytest.mark.parametrize(
    ("broken", "line", "statement", "text"),
    [
        ("start", 13, 'raise ConnectionError("no network")', "no network"),
        ("end", 16, 'raise ConnectionError("it was closed already")', "it was closed already"),
    ],
)
def test_a_lifespan_that_fails_ends_its_worker_with_a_code(
    tmp_path: Path, broken: str, line: int, statement: str, text: str
) -> None:
    (tmp_path / "living.py").write_text(LIFESPAN)
    done = subprocess.run(
        [sys.executable, "-m", "kumofire_fsm.cli", "worker", "living:app", "--db", "jobs.db", "--create"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={"PYTHONPATH": str(ROOT), "BROKEN": broken},
        check=False,
    )
    told = done.stderr[done.stderr.index("Traceback") :].splitlines()
    assert (done.returncode, told) == (
        1,
        [
            "Traceback (most recent call last):",
            f'  File "{tmp_path}/living.py", line {line}, in lifespan',
            f"    {statement}",
            f"ConnectionError: {text}",
            f"(raised by the application's lifespan, at its {broken})",
        ],
    )


async def test_a_stored_error_has_no_frame_of_the_import_either(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = faulty(tmp_path, "faulty_in_handler")
    monkeypatch.syspath_prepend(tmp_path)

    @kit.job("job", max_attempts=1)
    async def job(ctx: Any) -> None:
        import importlib

        importlib.import_module("faulty_in_handler")

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        told = (await w.status(run_id)).last_error
    _, first, *_ = told.splitlines()
    assert first == "Traceback (most recent call last):"
    assert told.endswith(fault.split("\n", 1)[1].rstrip("\n"))
    assert told.count("  File ") == 4, "the handler, and three of the faulty modules"
