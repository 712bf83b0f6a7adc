"""What the pages say of speed is drawn from the raw results; nothing is measured here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, files, page, played, sessions

BENCHMARKS = ROOT / "benchmarks"
PEERS = sorted(path.stem for path in (BENCHMARKS / "peers").glob("*.py") if path.stem != "__init__")


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=BENCHMARKS
    )


def test_pages_and_chart_are_in_step_with_the_raw_results() -> None:
    done = run_benchmark("publishing.py", "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["bench", "flows", "peers", "scale"])
def test_each_raw_result_tells_its_machine_and_whether_it_was_quiet(name: str) -> None:
    found = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text("utf-8"))
    assert set(found["machine"]) == {
        "cpu", "cores", "memory_gb", "system", "python", "sqlite", "fsync_ms", "hand_over_us",
    }  # fmt: skip
    assert found["took"]["machine_was"] in ("busy", "quiet")


def test_every_contender_has_a_file_and_is_asked() -> None:
    done = run_benchmark("-c", "import bench_peers; print(*bench_peers.NAMES)")
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == sorted({*PEERS} - {"by_hand"})


@pytest.mark.parametrize("name", ["by_hand", "kumofire"])
def test_a_contender_of_ours_does_what_it_is_asked(name: str) -> None:
    orders = [
        {"work": "one_by_one", "runs": 3},
        {"work": "creators", "runs": 20, "number": 10},
        {"work": "bulk", "runs": 20, "size": 10},
    ]
    done = subprocess.run(
        [sys.executable, "agent.py", name],
        input="".join(json.dumps(order) + "\n" for order in orders),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=BENCHMARKS,
    )
    one, creators, bulk = (json.loads(line)["answer"] for line in done.stdout.splitlines())
    assert [each["runs"] for each in (one, creators, bulk["create"], bulk["drain"])] == [3, 20, 20, 20]
    # A worker that finds its file for the first time may commit once more.
    assert one["counts"]["commits"] in ({"by_hand": [9], "kumofire": [6, 7, 8]}[name])


def test_the_page_on_scaling_routes_as_it_says(tmp_path: Path) -> None:
    text = page("scaling.md")
    assert list(files(text)) == ["shards.py"]
    assert played(text, tmp_path) == sessions(text)
