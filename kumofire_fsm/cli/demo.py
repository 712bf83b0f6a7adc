"""`kumofire demo`: a job that fails once and then succeeds, on a file that is left to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kumofire_fsm.cli.status import status_text
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import zoned

if TYPE_CHECKING:
    from kumofire_fsm.models import RunStatus

__all__ = ["demo_command"]


def demo_command(
    db: Annotated[Path, typer.Option(metavar="FILE", help="The file, which must not exist yet.")] = Path(
        "demo.db"
    ),
) -> None:
    """Run a job that fails at its first attempt, and show what its file tells of it."""
    import asyncio

    from kumofire_fsm.errors import InvalidArgument

    if db.exists():
        raise InvalidArgument(f"{db} exists already; name another file by --db, or delete it")
    status = asyncio.run(_played(db))
    echo(status_text(status, zoned(utc=False, milliseconds=True)))
    echo(f"\nnow try: kumofire runs show {status.kumofire_job_run_id} --db {db}")
    echo(f"         kumofire stats --db {db}")
    echo(f"         kumofire doctor --db {db}")


async def _played(db: Path) -> RunStatus:
    """Create a run on a new file, work it, and return how it stands at its end."""
    import asyncio

    from kumofire_fsm import Backoff, Kumofire, RunContext

    app = Kumofire()

    @app.job("greet", retry=Backoff(first=0.2, jitter=False))
    async def greet(ctx: RunContext, name: str) -> str:
        if ctx.attempt == 1:
            raise ConnectionError("the network is down, so the job is tried again")
        return f"Hello, {name}!"

    async with app.open(db) as jobs:
        worker = asyncio.ensure_future(jobs.run())
        created = await jobs.create(greet, "Ada")
        status = await jobs.wait(created.kumofire_job_run_id)
        jobs.stop()
        await worker
    return status
