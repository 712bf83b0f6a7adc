"""The example of docs/transactions.md runs as it stands."""

import re
from pathlib import Path

from scripts import ROOT, run_python


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "transactions.md").read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "example.py").write_text(example)
    done = run_python(tmp_path, "example.py")
    assert (done.stdout, done.stderr) == ("[('a kite', 1)]\n", "")
