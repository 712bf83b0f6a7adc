"""Real jobs on real files, with a worker process killed half-way: `make demo`, or this file by itself.

It shows live progress, then the runs by state, the timeline of one recovered run, and what was checked.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from jobs import app
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from story import Story, files_under

from kumofire_fsm import RunMachine, RunStatus
from kumofire_fsm.machines import Role

_COLOURS = {
    Role.CLAIMABLE: "cyan",
    Role.LEASED: "yellow",
    Role.WAITING: "magenta",
    Role.SETTLED: "green",
}


def main() -> int:
    """Play the demo; return the exit code."""
    parser = argparse.ArgumentParser(description="Run real jobs, and kill a worker half-way.")
    own = Path(__file__).resolve().parents[2]
    parser.add_argument("--input", type=Path, default=own, help="a job for every file under this folder")
    root = parser.parse_args().input
    if not root.is_dir():
        parser.error(f"--input {root}: no folder is there")
    with tempfile.TemporaryDirectory(prefix="kumofire-demo-") as scratch:
        return asyncio.run(play(Console(), root, Path(scratch) / "jobs.db"))


async def play(console: Console, root: Path, db: Path) -> int:
    began = time.monotonic()
    files = files_under(root)
    console.print(f"[bold]the demo[/bold]: a job for each of {len(files)} files under {root}")
    async with app.open(db) as jobs:
        story = Story(jobs, db, files)
        try:
            await live(console, story)
        finally:
            story.stop_workers()
        console.print(states(await jobs.count_runs()))
        recovered = await story.recovered()
        if recovered is not None:
            console.print(timeline(recovered))
        findings = await story.findings()
    for text, held in findings:
        console.print(Text.assemble(("  ok  " if held else " FAIL ", "green" if held else "bold red"), text))
    console.print(f"[dim]{time.monotonic() - began:.1f} s in all[/dim]")
    return 0 if all(held for _, held in findings) else 1


async def live(console: Console, story: Story) -> None:
    playing = asyncio.ensure_future(story.play())
    with Live(console=console, refresh_per_second=10, transient=True) as live:
        while not playing.done():
            live.update(progress(await story.jobs.count_runs(), story.said))
            await asyncio.wait([playing], timeout=0.1)
    for line in story.said:
        console.print(f"  [dim]·[/dim] {line}")
    await playing


def progress(counts: dict[str, int], said: list[str]) -> Group:
    settled = RunMachine.spec.with_role(Role.SETTLED)
    done = sum(number for state, number in counts.items() if state in settled)
    bar = ProgressBar(total=max(1, sum(counts.values())), completed=done, width=50)
    return Group(bar, states(counts), *(Text(f"  · {line}", style="dim") for line in said))


def states(counts: dict[str, int]) -> Table:
    table = Table(title="runs by state", title_justify="left")
    table.add_column("state")
    table.add_column("role")
    table.add_column("runs", justify="right")
    for state in RunMachine.spec.states:
        if state.id in counts or state.role is Role.SETTLED:
            table.add_row(
                Text(state.id, style=_COLOURS[state.role]), state.role, str(counts.get(state.id, 0))
            )
    return table


def timeline(run: RunStatus) -> Table:
    title = f"a recovered run: {run.name} {run.kumofire_job_run_id}"
    table = Table(title=title, title_justify="left")
    for column in ("after", "event", "state", "noted"):
        table.add_column(column)
    for entry in run.history:
        after = "" if entry.at is None else f"{(entry.at - run.created_at).total_seconds():7.3f} s"
        noted = ", ".join(f"{key}={value}" for key, value in entry.facts.items())
        table.add_row(after, entry.event, entry.state, noted)
    return table


if __name__ == "__main__":
    sys.exit(main())
