"""A deploy through 1,000 live orders, with workers killed all the while: `make demo-flow`."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from story import HERE, LARGE, Story, bill, create, draft_of, findings

MOVES = """
SELECT value ->> 0 AS event, count(*) AS number FROM kumofire_runs, json_each(history)
GROUP BY event ORDER BY number DESC
"""


def main() -> int:
    """Play the demo; return the exit code."""
    parser = argparse.ArgumentParser(description="Deploy through 1,000 live orders.")
    parser.add_argument("--pictures", type=Path, help="a folder for the flow's picture, before and after")
    parser.add_argument("--orders", type=int, default=1_000, help="how many orders there are")
    given = parser.parse_args()
    pictures: Path | None = given.pictures and given.pictures.resolve()
    with tempfile.TemporaryDirectory(prefix="kumofire-flow-") as scratch:
        story = Story(Path(scratch), given.orders)
        try:
            return asyncio.run(play(Console(), story, pictures))
        finally:
            story.stop()


async def play(console: Console, story: Story, pictures: Path | None) -> int:
    began = time.monotonic()
    with closing(sqlite3.connect(story.db)) as db:
        db.execute("CREATE TABLE ledger (number INTEGER, step TEXT)")
    first = story.deploy(1, (HERE / "first.py").read_text())
    (story.folder / "v1" / "held").touch()
    async with first.app.open(story.db) as jobs:
        ids = await create(jobs, first, story.orders)
    console.print(f"{story.orders:,} orders are created, and two workers serve version 1")
    story.start_worker(1)
    story.start_worker(1)
    killing = asyncio.ensure_future(story.kill_workers())
    try:
        await until_they_stand_everywhere(console, story)
        picture(story, 1, pictures, "before.svg")
        console.print(f"\nby hand: UPDATE ... SET step = 'ship': [red]{story.try_to_cheat()}[/red]")
        second = plan(console, story)
        await deploy(console, story, second)
        picture(story, 2, pictures, "half-way.svg")
        story.stop(1)
        console.print("nothing of version 1 is left: its workers are stopped")
        async with second.app.open(story.db) as jobs:
            for n in range(LARGE, story.orders, 5):
                status = await jobs.get_status(ids[n])
                if status is not None and not status.settled:
                    await jobs.signal(ids[n], "approve", key=f"approval {n}", by="demo")
            await until(console, story, lambda: story.live() == 0)
            killing.cancel()
            picture(story, 2, pictures, "after.svg")
            moves = first.Order.spec.moves | second.Order.spec.moves
            named = {("pack" if a == "packing" else a, "pack" if b == "packing" else b) for a, b in moves}
            found = await findings(jobs, story, ids, named)
    finally:
        killing.cancel()
    console.print("moves: " + ", ".join(bill(story.rows(MOVES))))
    for text, held in found:
        console.print(Text.assemble(("  ok  " if held else " FAIL ", "green" if held else "bold red"), text))
    console.print(f"[dim]{time.monotonic() - began:.1f} s in all[/dim]")
    return 0 if all(held for _, held in found) else 1


async def until_they_stand_everywhere(console: Console, story: Story) -> None:
    """Wait until orders stand at every step of version 1, and none moves any more."""

    def stand() -> bool:
        steps = {step: number for (_, step), number in story.counts().items()}
        return all(
            steps.get(step, 0) >= 0.15 * story.orders
            for step in ("reserve", "charge", "approval", "packing", "ship")
        )

    await until(console, story, stand)


async def until(console: Console, story: Story, done: object) -> None:
    """Show how many orders are at each step, until something holds."""
    assert callable(done)
    with Live(console=console, refresh_per_second=5, transient=True) as live:
        while not done():
            live.update(table(story))
            await asyncio.sleep(0.2)
    console.print(table(story))


def table(story: Story) -> Table:
    counts = story.counts()
    made = Table(title=f"orders by step; {story.killed} workers killed", title_justify="left")
    for column in ("step", "version 1", "version 2"):
        made.add_column(column, justify="left" if column == "step" else "right")
    order = ("reserve", "charge", "approval", "packing", "pack", "label", "ship", "shipped", "undone")
    for step in order:
        numbers = [counts.get((f"order@{version}", step), 0) for version in (1, 2)]
        made.add_row(step, *(f"{number:,}" if number else "" for number in numbers))
    return made


def plan(console: Console, story: Story) -> ModuleType:
    """Ask for the plan of version 2; mend what it refuses; return the code."""
    source = (HERE / "second.py").read_text()
    draft, line = draft_of(source)
    words = ("machine", "migrate", "shop:app", "--plan", "--db", str(story.db))
    console.print("\n$ kumofire machine migrate shop:app --plan --db orders.db")
    for text in (draft, source):
        module = story.deploy(2, text)
        said = story.command(2, *words)
        console.print(Text(said.stdout + said.stderr, style="red" if said.returncode else "green"))
        if text is draft:
            assert said.returncode == 1, "the draft is refused"
            console.print(f"one line mends it: [bold]{line}[/bold]")
    assert said.returncode == 0, "the mended version is not refused"
    return module


async def deploy(console: Console, story: Story, second: ModuleType) -> None:
    """Start workers of version 2 beside those of version 1, and move orders until none is left."""
    story.start_worker(2)
    story.start_worker(2)
    moved = 0
    async with second.app.open(story.db) as jobs:
        while True:
            moved += await jobs.migrate_flows()
            if not any(version == "order@1" and step != "shipped" for version, step in story.counts()):
                break
            await asyncio.sleep(0.2)
    console.print(f"{moved:,} orders are moved to version 2, while workers of both serve")
    console.print(table(story))


def picture(story: Story, version: int, folder: Path | None, name: str) -> None:
    """Draw the flow with how many orders are at each step."""
    if folder is not None:
        folder.mkdir(exist_ok=True)
        story.command(
            version, "diagram", "shop:Order", "--db", str(story.db), "--counts", "-o", str(folder / name)
        )


if __name__ == "__main__":
    sys.exit(main())
