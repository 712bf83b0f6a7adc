"""The tutorial: its files run as they stand, beside the worker that it starts, and print what it says."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import typer
from pages import PROGRAMS, files, page, played, sessions
from scripts import environment, run_pytest, run_python

from kumofire_fsm.cli.commands import cli

PAGE = page("tutorial.md")


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """Start the page's worker in a folder, and stop it as systemd would."""
    (command,) = re.findall(r"^kumofire (worker .*)$", PAGE, re.MULTILINE)
    arguments = [sys.executable, *PROGRAMS["kumofire"], *shlex.split(command)]
    with subprocess.Popen(
        arguments, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as worker:
        try:
            yield
        finally:
            worker.terminate()
            _, log = worker.communicate(timeout=600)
    assert worker.returncode == 0, log


def test_the_steps_print_what_the_page_says_in_their_order(tmp_path: Path) -> None:
    assert list(files(PAGE)) == [
        *(
            "shop.py",
            "trial.py",
            "web.py",
            "place.py",
            "look.py",
            "newest.py",
            "test_shop.py",
            "production.py",
        )
    ]
    parts = PAGE.split("\n## ")
    before, after = ("\n## ".join(part) for part in (parts[:3], parts[3:]))
    for name, source in files(PAGE).items():
        (tmp_path / name).write_text(source)
    assert played(before, tmp_path) == sessions(before)
    with working(tmp_path):
        assert played(after, tmp_path) == sessions(after)


def test_the_tests_of_the_shop_pass(tmp_path: Path) -> None:
    for name in ("shop.py", "test_shop.py"):
        (tmp_path / name).write_text(files(PAGE)[name])
    done = run_pytest(tmp_path, "test_shop.py")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout


def test_the_unit_of_systemd_starts_a_worker_with_options_that_exist() -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    parsed = configparser.ConfigParser()
    parsed.read_string(unit)
    program, *arguments = shlex.split(parsed["Service"]["ExecStart"])
    assert program.endswith("/bin/kumofire")
    command = typer.main.get_command(cli)
    assert isinstance(command, click.Group) or hasattr(command, "commands")
    worker = command.commands[arguments[0]]
    assert worker.make_context("worker", arguments[1:])
    # systemd waits for longer than the grace period, after which a worker gives back what goes on.
    grace = next(each for each in worker.params if each.name == "grace")
    assert int(parsed["Service"]["TimeoutStopSec"]) > float(grace.default)


def test_the_web_service_refuses_what_is_no_order(tmp_path: Path) -> None:
    for name in ("shop.py", "web.py"):
        (tmp_path / name).write_text(files(PAGE)[name])
    (tmp_path / "refused.py").write_text(
        "from fastapi.testclient import TestClient\n"
        "from web import web\n"
        "with TestClient(web) as client:\n"
        "    print(client.post('/orders', json={'number': 'x'}).status_code, client.get('/orders/no').status_code)\n"
    )
    assert run_python(tmp_path, "refused.py").stdout == "422 404\n"
