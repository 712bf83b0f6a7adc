"""The README's examples run as they stand."""

import re
from pathlib import Path

import pytest
from scripts import ROOT, run_python

README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
EXPECTED = [
    "succeeded Hello, Ada! This is attempt 1.",
    "",
    "active ",
]


@pytest.mark.parametrize(("example", "expected"), list(zip(EXAMPLES, EXPECTED, strict=True)))
def test_each_example_of_the_readme_runs(example: str, expected: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example)
    done = run_python(tmp_path, str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) < 200
