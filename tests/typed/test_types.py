"""Type checkers see payloads, options and results: what they must accept, refuse and find, and the pages' examples."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pages import ROOT
from sync_stub import STUB, sync_stub

from kumofire_fsm import NewRun, NewSchedule
from kumofire_fsm.models import RunOptions
from kumofire_fsm.schedules.changes import ScheduleChanges, ScheduleOptions

HERE = Path(__file__).parent
PASSES, FAILS = HERE / "passes.py", HERE / "fails.py"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MYPY = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-color-output", "--no-pretty"]


def examples(page: Path) -> dict[str, str]:
    """Return a page's Python files by names that no other page has; one without a name is called by its place."""
    blocks = re.findall(
        r"^```python\n(?:# (\w+)\.py\n)?(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    named = {name for name, _ in blocks if name}
    prefix = f"page_{page.stem.lower().replace('-', '_')}"

    def moved(source: str) -> str:
        return re.sub(
            r"^( *from )(\w+)(?= import)",
            lambda found: f"{found[1]}{prefix}_{found[2]}" if found[2] in named else found[0],
            source,
            flags=re.MULTILINE,
        )

    return {
        f"{prefix}_{name or place}": moved(source)
        for place, (name, source) in enumerate(blocks)
        if not source.startswith("from workers import")  # it exists inside a Worker only
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str]]:
    """Return every error of mypy: file, line, text. One process for all, because the package is read each time."""
    folder = tmp_path_factory.mktemp("typed")
    for file in (PASSES, FAILS):
        shutil.copy(file, folder)
    for page in PAGES:
        for name, source in examples(page).items():
            (folder / f"{name}.py").write_text(source, "utf-8")
    files = sorted(each.name for each in folder.glob("*.py"))
    done = subprocess.run(
        [*MYPY, "--cache-dir=cache", "--hide-error-context", *files],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    lines = re.findall(r"^([^:\n]+):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    return [(file, int(line), text) for file, line, text in lines]


def refused() -> list[int]:
    return [
        at for at, line in enumerate(FAILS.read_text("utf-8").splitlines(), 1) if line.endswith("# refused")
    ]


def test_mypy_accepts_what_is_right_and_finds_its_types(found: list[tuple[str, int, str]]) -> None:
    assert [each for each in found if each[0] == PASSES.name] == []


def test_mypy_refuses_each_wrong_line_and_no_other(found: list[tuple[str, int, str]]) -> None:
    assert sorted({line for file, line, _ in found if file == FAILS.name}) == refused()


def test_a_misspelled_option_is_refused_with_the_right_one(found: list[tuple[str, int, str]]) -> None:
    texts = [text for file, _, text in found if file == FAILS.name and "dealy" in text]
    assert len(texts) == 6
    assert [text for text in texts if 'did you mean "delay"?' not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mypy_accepts_the_examples_of_a_page(page: Path, found: list[tuple[str, int, str]]) -> None:
    names = {f"{name}.py" for name in examples(page)}
    assert [each for each in found if each[0] in names] == []


def test_mypy_finds_nothing_else(found: list[tuple[str, int, str]]) -> None:
    ours = {PASSES.name, FAILS.name, *(f"{name}.py" for page in PAGES for name in examples(page))}
    assert [each for each in found if each[0] not in ours] == []


@pytest.mark.skipif(shutil.which("pyright") is None, reason="pyright is not installed")
def test_pyright_agrees(tmp_path: Path) -> None:
    for file in (PASSES, FAILS):
        shutil.copy(file, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"extraPaths": ["{ROOT}"], "typeCheckingMode": "strict", "reportUnusedFunction": false}}'
    )
    done = subprocess.run(
        ["pyright", "--pythonpath", sys.executable], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    lines = re.findall(r"^ *\S*?(\w+\.py):(\d+):\d+ - error", done.stdout, re.MULTILINE)
    assert sorted({(file, int(line)) for file, line in lines}) == [(FAILS.name, line) for line in refused()]


def test_the_types_of_the_synchronous_api_are_those_of_the_asynchronous_one() -> None:
    committed, fresh = ast.parse(STUB.read_text("utf-8")), ast.parse(sync_stub())
    assert ast.dump(committed.body[-1]) == ast.dump(fresh.body[-1]), "the API has changed; run `make stubs`"


def test_the_options_of_a_run_are_those_that_type_checkers_know() -> None:
    assert {each.name for each in fields(NewRun)} - {"name", "payload"} == set(RunOptions.__annotations__)


def test_the_options_of_a_schedule_are_those_that_type_checkers_know() -> None:
    changes, options = set(ScheduleChanges.__annotations__), set(ScheduleOptions.__annotations__)
    assert {each.name for each in fields(NewSchedule)} - {"schedule_key"} == changes
    assert changes - options == {"name", "payload"}
