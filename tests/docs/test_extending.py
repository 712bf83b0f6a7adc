"""The examples of docs/extending.md run as they stand."""

import re
from pathlib import Path

import pytest
from scripts import ROOT, run_python

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text("utf-8"), re.DOTALL)
EXPECTED = [
    "ana objects: a source is missing\nKumo is published ['create', 'reject', 'appeal', 'accept', 'start', 'succeed']\n",
    "True {'note': 'the quota is used up'}\n",
]


@pytest.mark.parametrize(("example", "expected"), list(zip(EXAMPLES, EXPECTED, strict=True)), ids=range(2))
def test_each_example_runs(example: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(example)
    done = run_python(tmp_path, "example.py")
    assert (done.stdout, done.stderr) == (expected, "")


@pytest.mark.parametrize("machine", ["reviewed:ReviewedRun", "quota:QuotaRun"])
def test_lint_finds_no_way_round_in_its_lifecycles(machine: str, tmp_path: Path) -> None:
    for name, example in zip(("reviewed", "quota"), EXAMPLES, strict=True):
        (tmp_path / f"{name}.py").write_text(example)
    done = run_python(tmp_path, "-m", "kumofire_fsm.cli", "machine", "lint", machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{machine}: nothing to mend\n", "")
