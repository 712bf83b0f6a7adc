"""The committed diagrams are the declarations' own."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "diagrams"
RENEW = runpy.run_path(str(FOLDER / "renew.py"))
RENEWED, EXAMPLES = RENEW["files"](), RENEW["examples"]()


def test_the_committed_diagrams_are_fresh() -> None:
    made = RENEWED | EXAMPLES
    stale = [n for n, text in made.items() if (FOLDER / n).read_bytes() != text.encode()]
    assert not stale, f"{', '.join(stale)}: the declarations have changed; run `make diagrams`"


def test_nothing_else_is_among_the_diagrams() -> None:
    found = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert found == {*RENEWED, "renew.py"}


def test_the_readme_shows_the_picture_of_a_run() -> None:
    assert "![The lifecycle of a run](diagrams/run.svg)" in (ROOT / "README.md").read_text("utf-8")


def test_the_example_of_the_documentation_runs() -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "diagrams.md").read_text("utf-8"), re.DOTALL
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True True True\n", "")
