"""The page on lifecycles: its files run as they stand, and its commands print what it says."""

import re
from pathlib import Path

import pytest
from pages import files, page, played, sessions
from scripts import run_python

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Role, RunMachine
from kumofire_fsm.machines import _rules as rules
from kumofire_fsm.machines import _verbs as verbs
from kumofire_fsm.machines.lint import _overlaps as overlaps
from kumofire_fsm.machines.lint import _warnings as lint

PAGE = page("lifecycles.md")
FILES = files(PAGE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_these_are_the_files_of_the_page() -> None:
    assert list(FILES) == [
        "lifecycles.py",
        "test_approved_run.py",
        "test_deadline.py",
        "test_all_of_it.py",
        "doubtful.py",
    ]


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
def test_each_test_on_the_page_passes(folder: Path, name: str) -> None:
    done = run_python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_s_commands_print_what_it_says_in_their_order(tmp_path: Path) -> None:
    assert len(sessions(PAGE)) == 5
    assert played(PAGE, tmp_path) == sessions(PAGE)


def test_with_the_inherited_redrive_a_run_gets_round_its_approval_as_the_page_says(folder: Path) -> None:
    own = re.compile(r"    redrive = Event\(.*?\n    \)\n", re.DOTALL)
    weakened, removed = own.subn("", FILES["lifecycles.py"])
    assert removed == 1
    (folder / "lifecycles.py").write_text(weakened)
    lint_ = run_python(folder, "-m", "kumofire_fsm.cli", "machine", "lint", "lifecycles:ApprovedRun")
    assert (
        "warning bypass: approved_run: redrive from canceled leads to ready, past 'approval'" in lint_.stdout
    )
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_all_of_it.py"]
    done = run_python(folder, *command)
    assert done.returncode == 1
    assert "events=['cancel', 'redrive']" in done.stdout
    assert "With the inherited `redrive` the last test fails with `['cancel', 'redrive']`" in PAGE


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
