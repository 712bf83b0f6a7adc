"""The page on testing: its tests pass as they stand, and its tables name what there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from pages import files, page
from scripts import run_pytest

from kumofire_fsm import pytest_plugin
from kumofire_fsm.testing import CallOutcome

PAGE = page("testing.md")


def test_the_page_s_tests_pass(tmp_path: Path) -> None:
    for name, source in files(PAGE).items():
        (tmp_path / name).write_text(source)
    (configuration,) = re.findall(r"^```ini\n# pytest.ini\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "pytest.ini").write_text(configuration)
    done = run_pytest(tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (0, "7 passed"), done.stdout


def test_the_table_of_an_outcome_has_every_attribute() -> None:
    names = {each.name for each in dataclasses.fields(CallOutcome)} | {"error_type", "progress"}
    rows = PAGE.split("| of a `CallOutcome` |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in rows.splitlines()[2:]]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == names


def test_the_table_of_fixtures_has_every_one() -> None:
    fixtures = {name for name in pytest_plugin.__all__ if name.startswith("kumofire_")}
    assert set(re.findall(r"^\| `(kumofire_\w+)` \|", PAGE, re.MULTILINE)) == fixtures
