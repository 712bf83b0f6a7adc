"""The recipes: those whose packages are here run, and every command in a unit or an image exists."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import typer
from pages import files, page
from scripts import run_pytest, run_python

from kumofire_fsm.cli.commands import cli

PAGE = page("recipes.md")
POSTED = """
from fastapi.testclient import TestClient
from fast import web

with TestClient(web) as client:
    print(client.post("/letters", json={"to": "ana@example.com", "text": "Hi"}).json())
"""

WITHDRAWN = """
from answers import web
from fastapi.testclient import TestClient
from letters import app

with TestClient(web) as client:
    print(client.delete("/letters/unknown").status_code)
    client.post("/letters", json={"to": "ana@example.com", "text": "Hi"})
    with app.open_sync("letters.db") as jobs:
        (run,) = jobs.list_runs().runs
    print(client.delete(f"/letters/{run.kumofire_job_run_id}").status_code)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in files(PAGE).items():
        (tmp_path / name).write_text(source)
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_has_these_files() -> None:
    assert list(files(PAGE)) == ["letters.py", "fast.py", "answers.py", "flasked.py", "test_flasked.py"]


def test_a_worker_inside_of_fastapi_answers_with_the_result_and_ends(folder: Path) -> None:
    (folder / "posted.py").write_text(POSTED)
    done = run_python(folder, "posted.py")
    assert (done.returncode, done.stdout) == (0, "{'result': 'sent to ana@example.com'}\n"), done.stderr


def test_what_is_refused_becomes_an_answer_of_fastapi(folder: Path) -> None:
    (folder / "withdrawn.py").write_text(WITHDRAWN)
    done = run_python(folder, "withdrawn.py")
    assert (done.returncode, done.stdout) == (0, "404\n409\n"), done.stderr


def test_the_test_of_the_flask_service_passes(folder: Path) -> None:
    done = run_pytest(folder, "test_flasked.py")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_the_view_of_django_is_python() -> None:
    django = PAGE.split("\n## Django\n")[1].split("\n## ")[0]
    (view,) = re.findall(r"(?:^    .*\n|^\n)+", django.split("\n- ")[0].split(":\n", 1)[1], re.MULTILINE)
    assert "transaction.on_commit" in view
    compile(textwrap.dedent(view), "view.py", "exec")


def test_the_commands_of_units_and_images_exist() -> None:
    (image,), (compose,) = blocks("dockerfile"), blocks("yaml")
    (started,) = re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)
    commands = [json.loads(started)[1:]]
    for unit in blocks("ini"):
        parsed = configparser.RawConfigParser()
        parsed.read_string(unit)
        if parsed.has_option("Service", "ExecStart"):
            shell = shlex.split(parsed["Service"]["ExecStart"])[-1]
            commands.append(shlex.split(shell)[2:])
    commands += [shlex.split(each) for each in re.findall(r"exec worker kumofire (.*?)`", PAGE)]
    assert [each[0] for each in commands] == ["worker", "backup", "backup"]
    known = typer.main.get_command(cli)
    for name, *arguments in commands:
        assert known.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    assert re.search(r"stop_grace_period: 30s", compose)
