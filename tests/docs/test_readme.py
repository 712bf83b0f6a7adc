"""The README's examples run as they stand, and print what it says."""

import re
from pathlib import Path

import pytest
from scripts import ROOT, run_python

README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PRINTED = dict(re.findall(r"```console\n\$ python (\w+\.py)\n(.*?)```", README, re.DOTALL))
EXPECTED = [PRINTED.get("jobs.py"), "active "]


@pytest.mark.parametrize(("example", "expected"), list(zip(EXAMPLES, EXPECTED, strict=True)))
def test_each_example_of_the_readme_runs(example: str, expected: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example)
    done = run_python(tmp_path, str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)


def test_the_first_example_prints_exactly_what_stands_below_it(tmp_path: Path) -> None:
    name = re.match(r"# (\w+\.py)\n", EXAMPLES[0])[1]
    assert list(PRINTED) == [name]
    (tmp_path / name).write_text(EXAMPLES[0])
    done = run_python(tmp_path, name)
    assert (done.returncode, done.stdout) == (0, PRINTED[name])
    # The log, on the standard error, tells of the failed attempt and of nothing else.
    assert re.fullmatch(r"run \S+ of job 'greet': attempt 1 of 5 failed.*the network is down\n", done.stderr)


def test_example_output_and_picture_stand_on_the_first_screen() -> None:
    lines = README.splitlines()
    assert lines.index("![The path of one run](diagrams/path.svg)") < 50
    assert lines.index("$ python jobs.py") < 50


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) < 150
