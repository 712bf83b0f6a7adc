"""The demo of flows: a deploy through live orders, with workers killed, ends with every check held."""

import subprocess
import sys
from pathlib import Path

from slices import part

DEMO = Path(__file__).resolve().parents[2] / "examples" / "flow_demo" / "demo.py"


@part(0, 2)
def test_a_deploy_through_live_orders_loses_and_doubles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(DEMO), "--orders", "300", "--pictures", str(tmp_path / "pictures")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "kumofire: the flow has no such edge" in done.stdout
    assert "50 of 50 checked do not validate" in done.stdout.replace("\n", " ")
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "before.svg",
        "half-way.svg",
        "after.svg",
    }
