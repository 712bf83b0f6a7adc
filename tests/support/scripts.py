"""Runs Python as a reader of the documents would: in a folder, with every warning an error."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from patience import SECONDS_MAX

ROOT = Path(__file__).resolve().parents[2]

PLUGIN = "kumofire_fsm.pytest_plugin"


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which this project's own package is found."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


@cache
def _programs() -> subprocess.Popen[str]:
    """Return the process that has imported what all programs import, and forks for each: a start takes no time."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("program.py"))]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=environment(), start_new_session=True
    )

    def end() -> None:
        os.killpg(process.pid, signal.SIGKILL)  # and with it a program that goes on
        process.communicate()

    atexit.register(end)
    return process


def run_python(
    folder: Path, *arguments: str, fresh: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python`` with these arguments in a folder, on this project's own package.

    Args:
        folder: where.
        arguments: as of ``python``.
        fresh: in a process that has imported nothing before.
        more: more of the environment.
    """
    if fresh:
        command = [sys.executable, "-W", "error", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False
        )
    with tempfile.TemporaryDirectory() as written:
        out, err = Path(written, "out"), Path(written, "err")
        asked = {
            "folder": str(folder),
            "arguments": arguments,
            "more": more,
            "out": str(out),
            "err": str(err),
        }
        programs = _programs()
        assert programs.stdin is not None
        assert programs.stdout is not None
        print(json.dumps(asked), file=programs.stdin, flush=True)
        assert select.select([programs.stdout], [], [], SECONDS_MAX)[0], (
            f"{arguments} goes on: {err.read_text()}"
        )
        code = int(programs.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text("utf-8"), err.read_text("utf-8"))


def run_pytest(folder: Path, *arguments: str, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, as it is where no plugin is installed but this project's own.

    Hypothesis is patient with a slow machine where CI is set.
    """
    command = ("-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments)
    return run_python(folder, *command, fresh=fresh, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", CI="1")
