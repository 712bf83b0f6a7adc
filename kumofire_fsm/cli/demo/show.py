"""Shows the demo: live progress, then the runs by state, one recovered run's timeline, the findings."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kumofire_fsm import RunMachine, RunStatus
from kumofire_fsm.cli.demo.jobs import app
from kumofire_fsm.cli.demo.story import Story, files_under
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import Role

__all__ = ["show_demo"]

_COLOURS = {
    Role.CLAIMABLE: "cyan",
    Role.LEASED: "yellow",
    Role.WAITING: "magenta",
    Role.SETTLED: "green",
}


def show_demo(folder: Path | None) -> int:
    """Play the demo on a folder's files (the project's own by default); return the exit code.

    Raises:
        InvalidArgument: the folder does not exist.
    """
    root = folder or Path(__file__).resolve().parents[3]
    if not root.is_dir():
        raise InvalidArgument(f"--input {root}: there is no such folder")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="kumofire-demo-") as scratch:
        return asyncio.run(_demo(console, root, Path(scratch) / "jobs.db"))


async def _demo(console: Console, root: Path, db: Path) -> int:
    began = time.monotonic()
    files = files_under(root)
    console.print(f"[bold]kumofire demo[/bold]: a job for each of {len(files)} files under {root}")
    async with app.open(db) as jobs:
        story = Story(jobs, db, files)
        try:
            await _live(console, story)
        finally:
            story.stop_workers()
        console.print(_states(await jobs.count_runs()))
        recovered = await story.recovered()
        if recovered is not None:
            console.print(_timeline(recovered))
        findings = await story.findings()
    for text, held in findings:
        console.print(Text.assemble(("  ok  " if held else " FAIL ", "green" if held else "bold red"), text))
    console.print(f"[dim]{time.monotonic() - began:.1f} s in all[/dim]")
    return 0 if all(held for _, held in findings) else 1


async def _live(console: Console, story: Story) -> None:
    playing = asyncio.ensure_future(story.play())
    with Live(console=console, refresh_per_second=10, transient=True) as live:
        while not playing.done():
            live.update(_progress(await story.jobs.count_runs(), story.said))
            await asyncio.wait([playing], timeout=0.1)
    for line in story.said:
        console.print(f"  [dim]·[/dim] {line}")
    await playing


def _progress(counts: dict[str, int], said: list[str]) -> Group:
    settled = RunMachine.spec.with_role(Role.SETTLED)
    done = sum(number for state, number in counts.items() if state in settled)
    bar = ProgressBar(total=max(1, sum(counts.values())), completed=done, width=50)
    return Group(bar, _states(counts), *(Text(f"  · {line}", style="dim") for line in said))


def _states(counts: dict[str, int]) -> Table:
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


def _timeline(run: RunStatus) -> Table:
    title = f"a recovered run: {run.name} {run.kumofire_job_run_id}"
    table = Table(title=title, title_justify="left")
    for column in ("after", "event", "state", "noted"):
        table.add_column(column)
    for entry in run.history:
        after = "" if entry.at is None else f"{(entry.at - run.created_at).total_seconds():7.3f} s"
        noted = ", ".join(f"{key}={value}" for key, value in entry.facts.items())
        table.add_row(after, entry.event, entry.state, noted)
    return table
