"""``kumofire prune``: deletes settled runs of a database by their age."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.options import App, AsJson, Yes
from kumofire_fsm.cli.place import Place, acting, on_database
from kumofire_fsm.cli.questions import ask
from kumofire_fsm.cli.texts import duration_of, json_of

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs

__all__ = ["prune_command"]

CHUNK = 1_000


@on_database()
def prune_command(
    where: Place,
    older_than: Annotated[str, typer.Option(help="Settled longer ago than this: 90s, 15m, 2h, 7d, 1w.")],
    yes: Yes = False,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Delete runs that settled longer ago than that, 1,000 in a transaction; their dedupe keys are free."""
    age = duration_of(older_than, "--older-than")
    if not yes:
        ask(f"delete every run that settled more than {older_than} ago, for good")
    deleted = acting(where, app, lambda jobs: _prune(jobs, age))
    echo(json_of({"deleted": deleted}) if as_json else f"deleted {deleted:,} runs")


async def _prune(jobs: Jobs, age: timedelta) -> int:
    deleted = 0
    while number := await jobs.prune(older_than=age, limit=CHUNK):
        deleted += number
    return deleted
