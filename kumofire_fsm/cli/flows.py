"""``kumofire machine migrate``: brings the instances of flows to the versions of an application's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.options import Config, Environment, Local, PersistTo, Remote
from kumofire_fsm.errors import InvalidArgument

__all__ = ["migrate_flows_command"]


def migrate_flows_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    sqlite: Annotated[Path | None, typer.Option(help="An SQLite file.")] = None,
    local: Local = False,
    remote: Remote = False,
    database: Annotated[str | None, typer.Option(help="D1: its name or binding.", metavar="NAME")] = None,
    config: Config = None,
    env: Environment = None,
    persist_to: PersistTo = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done; change nothing.")] = False,
) -> None:
    """Bring the instances of flows that rest to the versions of this code; exit code 1 where that is refused.

    Each is moved to the step of its name, or to the one that `was` names, with its data upgraded. What is
    under way is left: run it again. Register the edges first: `kumofire migrate`.
    """
    import asyncio

    from kumofire_fsm.adapters.sqlite import SqliteStorage
    from kumofire_fsm.cli.d1 import D1Database
    from kumofire_fsm.cli.d1_storage import WranglerStorage
    from kumofire_fsm.cli.loading import load_app

    if (sqlite is not None) + local + remote != 1 or ((local or remote) and not database):
        raise InvalidArgument(
            "give exactly one of --sqlite FILE, --local and --remote; these with --database NAME"
        )
    if sqlite is not None and not sqlite.exists():
        raise InvalidArgument(f"there is no file {str(sqlite)!r}")
    app = load_app(application)

    def storage() -> Any:
        if sqlite is not None:
            return SqliteStorage(sqlite, read_only=plan)
        return WranglerStorage(D1Database(str(database), remote, config, env, persist_to))

    refused = asyncio.run(_with(app, storage, plan=plan))
    if refused:
        raise typer.Exit(1)


async def _with(app: Any, storage: Callable[[], Any], *, plan: bool) -> bool:
    """Plan, print the plan, and do it unless something stands in the way; return whether it does."""
    from kumofire_fsm.adapters.sqlite import SqliteStorage
    from kumofire_fsm.engine.binding import EMBEDDED

    opened = storage()
    try:
        jobs = app.bind(db=opened, timing=EMBEDDED)
        plans = await jobs.plan_flows()
        for each in plans:
            echo(str(each))
        if not plans:
            echo("the application has no flow")
        refused = any(each.refused for each in plans)
        if not plan and not refused:
            echo(f"moved {await jobs.migrate_flows():,}")
        return refused
    finally:
        if isinstance(opened, SqliteStorage):
            await opened.close()
