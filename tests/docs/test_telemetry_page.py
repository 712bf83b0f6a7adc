"""The page on telemetry: its example runs as it stands, and it names every name."""

import re
from pathlib import Path

from pages import ROOT, page, played, sections, sessions

from kumofire_fsm.telemetry import names

PAGE = page("telemetry.md")
ATTRIBUTES = (
    "BATCH_COUNT",
    "ERROR_TYPE",
    "IS_NEW",
    "ATTEMPT",
    "MAX_ATTEMPTS",
    "STATE",
    "OUTCOME",
    "EVENT",
    "STEP",
)
METRICS = ("PROCESS_DURATION", "WAIT_DURATION", "OLDEST_AGE", "COUNT", "SETTLED", "FIRED", "SLOTS", "ROWS")


def test_the_example_runs(tmp_path: Path) -> None:
    assert played(PAGE, tmp_path) == sessions(PAGE)


def test_every_attribute_and_metric_is_named() -> None:
    told = [getattr(names, each) for each in (*ATTRIBUTES, "SYSTEM", "JOB", "RUN_ID", "SLOT_STATE", "ACCESS")]
    assert [name for name in told if f"`{name}`" not in PAGE] == []
    metrics = [getattr(names, each) for each in METRICS]
    assert [name for name in metrics if f"| `{name}` |" not in sections(PAGE)["Metrics"]] == []


def test_the_alerts_of_the_runbook_name_metrics_that_exist() -> None:
    alerts = sections(page("operate.md"))["Alerts"]
    known = {getattr(names, each) for each in METRICS}
    rows = [line.split("`")[1] for line in alerts.splitlines() if line.startswith("| `")]
    assert rows
    assert [name for name in rows if name not in known] == []


def test_every_logger_is_named() -> None:
    found = set()
    for file in (ROOT / "kumofire_fsm").rglob("*.py"):
        room = file.relative_to(ROOT).with_suffix("").parts
        for given in re.findall(r"^log = logging.getLogger\((.*)\)$", file.read_text("utf-8"), re.MULTILINE):
            named = {"__package__": room[:-1], "__name__": room}.get(given)
            found.add(given.strip('"') if named is None else ".".join(named))
    assert set(re.findall(r"^\| `(kumofire_fsm\.\w+)` \|", PAGE, re.MULTILINE)) == found
