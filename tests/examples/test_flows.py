"""The flows of the examples: each is played by the testing kit, drawn, and runs as a script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kumofire_fsm.testing import Play

ROOT = Path(__file__).resolve().parents[2]
FLOWS = ROOT / "examples" / "flows"
PRINTED = {
    "order": [
        "order 1 is packed",
        "order 1 is on its way",
        "1 shipped",
        "order 2 is packed, said ana",
        "order 2 is on its way",
        "2 shipped",
        "3 undone CardDeclined: 900000 is over the limit",
        "[(1, 100), (2, 250000)]",
    ],
    "approval": [
        "to the manager: ana asks for 40",
        "40 to ana, approved by ben",
        "paid",
        "to the manager: cem asks for 9000",
        "rejected",
    ],
    "nightly_import": ["waiting missing", "sales.csv: 2 rows", "imported"],
}


def test_every_example_is_tested_drawn_and_short() -> None:
    files = {file.stem: file for file in FLOWS.glob("*.py")}
    assert files.keys() == PRINTED.keys() == {file.stem for file in FLOWS.glob("*.svg")}
    assert [name for name, file in files.items() if len(file.read_text().splitlines()) > 110] == []


@pytest.mark.parametrize("name", PRINTED)
def test_it_runs_as_a_script_and_prints_what_happens(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(FLOWS / f"{name}.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.stdout.splitlines(), done.returncode) == (PRINTED[name], 0)


@pytest.fixture
def order(load: Any) -> Any:
    return load("order", "flows")


@pytest.fixture
def approval(load: Any) -> Any:
    return load("approval", "flows")


@pytest.fixture
def imports(load: Any) -> Any:
    return load("nightly_import", "flows")


def bought(order: Any, total: int, **env: int) -> tuple[Play, dict[str, int]]:
    shop = {"stock": 5, "credit": 500_000, **env}
    return Play(order.app, order.Order, order.Data(number=1, total=total), env=shop), shop


async def test_a_small_order_is_charged_once_and_shipped(order: Any) -> None:
    play, shop = bought(order, 100)
    assert await play.run() == "shipped"
    assert play.path == ["reserve", "charge", "pack", "ship", "shipped"]
    assert (shop["stock"], play.commits) == (4, [("charge", "INSERT INTO ledger VALUES (?, ?)")])
    assert play.data.charge_id.startswith("charge of ")


async def test_a_large_order_waits_for_a_person(order: Any) -> None:
    play, shop = bought(order, 250_000)
    assert await play.run() == "approval"
    assert await play.signal(order.Order.approve, order.Verdict(by="ana")) == "shipped"
    assert shop["stock"] == 4


async def test_an_order_that_is_rejected_or_overlooked_gives_everything_back(order: Any) -> None:
    for how in ("reject", "overlook", "cancel"):
        play, shop = bought(order, 250_000)
        await play.run()
        if how == "reject":
            await play.signal(order.Order.reject, order.Verdict(by="ana"))
        elif how == "cancel":
            await play.cancel()
        else:
            assert await play.advance(days=2, hours=23) == "approval"
            await play.advance(hours=1)
        assert (play.step, play.state, shop["stock"]) == ("undone", "failed", 5)
        assert [step for step, _ in play.commits] == ["charge", "undo_to_undone"]


async def test_a_declined_card_gives_the_stock_back_and_is_not_tried_again(order: Any) -> None:
    play, shop = bought(order, 100, credit=0)
    assert await play.run() == "undone"
    assert (shop["stock"], play.commits) == (5, [])
    assert "CardDeclined: 100 is over the limit" in str(play.error)


async def test_the_manager_is_reminded_three_times_and_then_it_lapses(approval: Any, capsys: Any) -> None:
    play = Play(approval.app, approval.Approval, approval.Expense(who="ana", amount=40))
    assert await play.run() == "asked"
    assert await play.advance(days=6, hours=1) == "asked"
    assert play.data.reminders == 3
    assert await play.advance(days=2) == "lapsed"
    assert (play.state, play.path.count("asked")) == ("canceled", 4)
    assert capsys.readouterr().out.splitlines()[-1] == "to the manager: ana still waits (reminder 3)"


async def test_a_verdict_after_a_reminder_counts(approval: Any) -> None:
    for verdict, step in (("approve", "paid"), ("reject", "rejected")):
        play = Play(approval.app, approval.Approval, approval.Expense(who="ana", amount=40))
        await play.run()
        await play.advance(days=3)
        assert await play.signal(verdict, approval.Verdict(by="ben")) == step


async def test_the_file_is_looked_for_until_it_is_there(imports: Any, tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    play = Play(imports.app, imports.NightlyImport, imports.Import(path=file))
    assert await play.run() == "missing"
    assert await play.advance(minutes=35) == "missing"
    file.write_text("day,sold\n1,5\n")
    assert await play.advance(minutes=10) == "imported"
    assert (play.data.rows, play.path.count("look")) == (1, 5)


async def test_a_word_that_it_is_there_saves_the_wait(imports: Any, tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    play = Play(imports.app, imports.NightlyImport, imports.Import(path=file))
    await play.run()
    file.write_text("day,sold\n")
    assert await play.signal(imports.NightlyImport.arrived) == "imported"


async def test_in_the_morning_it_is_given_up(imports: Any, tmp_path: Path) -> None:
    play = Play(imports.app, imports.NightlyImport, imports.Import(path=tmp_path / "none.csv"))
    began = play.now
    await play.run()
    assert await play.advance(hours=8) == "absent"
    assert play.path.count("look") == 37
    assert (play.state, (play.now - began).total_seconds()) == ("failed", 8 * 3600)


async def test_the_night_s_import_is_scheduled(imports: Any, kit: Any) -> None:
    async with kit.bound(app=imports.app) as w:
        await w.jobs.sync_schedules()
        (schedule,) = await w.jobs.list_schedules()
        assert (schedule.name, schedule.cron, schedule.timezone) == (
            "nightly_import",
            "0 1 * * *",
            "Europe/Berlin",
        )
