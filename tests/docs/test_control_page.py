"""The page on control and scale: its example runs as it stands, and its figures are those that are asserted."""

import ast
import re
from pathlib import Path

from pages import ROOT, files, page, played, sessions

PAGE = page("control.md")


def test_the_example_runs(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["control.py"]
    assert played(PAGE, tmp_path) == sessions(PAGE)


def test_the_rows_that_it_says_d1_reads_are_those_that_a_test_allows() -> None:
    module = ast.parse((ROOT / "tests/workerd/test_flat.py").read_text("utf-8"))
    (reads,) = (
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "READS"
    )
    rows = re.search(r"\| work \| rows read \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    assert rows is not None
    told = [int(number.replace(",", "")) for number in re.findall(r"\| ([\d,]+) \|$", rows[1], re.MULTILINE)]
    assert told == [number for label, number in reads.items() if label != "next wake"]
