"""``kumofire schedules sync`` and ``list``: the recurring jobs of a file, as the code declares them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kumofire_fsm import InvalidArgument
from kumofire_fsm.cli.commands import cli

SHOP = """
from datetime import UTC, datetime
from kumofire_fsm import Kumofire

app = Kumofire()

@app.schedule(cron="0 5 1 1 *", timezone="Asia/Tokyo", key="yearly")
@app.schedule(at=datetime(2100, 1, 1, tzinfo=UTC))
@app.job("report")
def report(ctx): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scheduled_shop.py").write_text(SHOP)
    yield tmp_path


def call(*arguments: str) -> list[str]:
    done = CliRunner().invoke(cli, ["schedules", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout.splitlines()


def test_a_sync_stores_what_the_code_declares_and_a_list_shows_it(folder: Path) -> None:
    sync = ("sync", "scheduled_shop:app", "--db", "jobs.db")
    assert call(*sync, "--create") == ["created    report", "created    yearly"]
    assert call(*sync) == ["unchanged  report", "unchanged  yearly"]
    assert json.loads("".join(call(*sync, "--json")))["unchanged"] == ["report", "yearly"]
    heads, *shown = call("list", "--db", "jobs.db", "--utc")
    assert heads.split() == ["STATE", "NEXT", "SCHEDULE", "JOB", "RULE", "MADE", "SKIPPED"]
    yearly, report = sorted(" ".join(line.split()) for line in shown)
    assert report == "active 2100-01-01 00:00:00 UTC report report 2100-01-01 00:00:00 UTC 0 0"
    assert yearly.endswith("-12-31 20:00:00 UTC yearly report 0 5 1 1 * Asia/Tokyo 0 0")


def test_a_list_needs_a_database(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no database"):
        call("list", "--db", "nothing.db")


def test_a_sync_makes_no_file_unless_it_is_told_to(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"there is no database .*typo\.db; .* with --create"):
        call("sync", "scheduled_shop:app", "--db", "typo.db")
    assert not (folder / "typo.db").exists()
