"""The page on lifecycles: its files run as they stand, and its commands print what it says."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from scripts import ROOT, run_python

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Role, RunMachine, rules, verbs
from kumofire_fsm.machines.lint import overlaps
from kumofire_fsm.machines.lint import warnings as lint

PAGE = (ROOT / "docs" / "machines.md").read_text("utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"```console\n\$ kumofire (.*?)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def run(tmp_path: Path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return run_python(tmp_path, "-m", *command)

    return call


def test_every_file_of_the_page_is_named() -> None:
    assert list(FILES) == [
        "lifecycles.py",
        "test_approved_run.py",
        "test_deadline.py",
        "test_all_of_it.py",
        "doubtful.py",
    ]
    assert PAGE.count("```python") == len(FILES)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
def test_each_test_on_the_page_passes(run, name: str) -> None:
    done = run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("command", "printed"), COMMANDS)
def test_each_command_on_the_page_prints_what_it_says(run, command: str, printed: str) -> None:
    done = run("kumofire_fsm.cli", *shlex.split(command))
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_the_page_tells_of_every_rule() -> None:
    sources = [Path(str(module.__file__)).read_text("utf-8") for module in (rules, verbs, lint, overlaps)]
    told = {
        name
        for names in re.findall(r"^\|([^|]*)\| (?:error|warning) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    yielded = {name for text in sources for name in re.findall(r'yield (?:\(\s*)?"([a-z-]+)"', text)}
    assert yielded | {"callback", "definition", "import"} == told


FROM = {
    "": "",
    "hinted": " with a hint under way",
    "timed": " with a deadline",
}


def line(verb: verbs.Verb) -> str:
    """Return a verb as the page's table has it."""
    source = " or ".join(verb.sources) + FROM[verb.only] if verb.sources else "need not exist"
    leads = " or ".join(verb.leads) if verb.leads != tuple(Role) else "any"
    guard = "no" if verb.always else "yes"
    sets = ", ".join(f"`{column}`" for column in verb.assigns)
    return f"| `{verb.event}` | {verb.by} | {source} | {leads} | {guard} | {sets} | {verb.when} |"


@pytest.mark.parametrize("table", verbs.VERBS)
def test_the_page_lists_the_verbs(table: str) -> None:
    assert "\n".join(map(line, verbs.VERBS[table])) + "\n\n" in PAGE


def test_the_page_shows_what_is_said_of_a_missing_verb() -> None:
    with pytest.raises(DefinitionError) as refused:
        type(RunMachine)("ApprovedRun", (RunMachine,), {"stop": None})
    assert f"```text\n{refused.value}\n```" in PAGE
