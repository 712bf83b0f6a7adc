"""The one door to a database for a command that looks or acts: an SQLite file, or a D1 database."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kumofire_fsm.cli.files import using
from kumofire_fsm.cli.options import (
    Config,
    D1Name,
    Database,
    Environment,
    Local,
    PersistTo,
    Remote,
    ShowCost,
    taking,
)
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.errors import InvalidArgument, KumofireError

if TYPE_CHECKING:
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.cli.d1 import D1Database
    from kumofire_fsm.cli.storages import Cost
    from kumofire_fsm.jobs import Jobs

__all__ = ["NAMES_APP", "Place", "acting", "application_of", "looking", "on_database"]

T = TypeVar("T")
Command = Callable[..., None]
NAMES_APP: Final = "--app MODULE:APP"


@dataclass(frozen=True, slots=True)
class Place:
    """A database that a command looks into, or acts on.

    Attributes:
        at: the SQLite file, or the D1 database.
        cost: what was sent to it so far.
        tells_cost: whether that is printed at the end.
    """

    at: Path | D1Database
    cost: Cost
    tells_cost: bool

    def leave_to_tick(self) -> None:
        """Tell a person who moved runs what happens next, where no worker sees it at once."""
        if not isinstance(self.at, Path):
            echo(
                f"{self.at}: a command sends no hint; the dispatcher's next tick does what follows", err=True
            )


def looking(where: Place, app: str | None, look: Callable[[Jobs], Awaitable[T]]) -> T:
    """Return what is asked of the jobs of a database, to which nothing is written.

    Args:
        where: the database.
        app: where the application is, if it is needed.
        look: asks.

    Raises:
        InvalidArgument: there is no such file, or no such application.
        StoreError: it is not a database of this package.
        WranglerError: wrangler is missing, or failed.
    """
    return _with_jobs(where, app, look, read_only=True)


def acting(where: Place, app: str | None, act: Callable[[Jobs], Awaitable[T]]) -> T:
    """Do something to the jobs of a database that exists; errors as `looking`."""
    return _with_jobs(where, app, act, read_only=False)


def application_of(app: str | None) -> Kumofire:
    """Return the application at ``module:attribute``; without one, an application that has no job.

    What follows the built-in lifecycle is looked at, and acted on, without the code of its jobs.
    """
    if app is None:
        from kumofire_fsm.app import Kumofire

        return Kumofire()
    from kumofire_fsm.cli.loading import load_app

    return load_app(app)


def _with_jobs(where: Place, app: str | None, work: Callable[[Jobs], Awaitable[T]], *, read_only: bool) -> T:
    """Do it; what an application would know is refused with the option that names one."""
    try:
        return _with_those_of(where, app, work, read_only=read_only)
    except KumofireError as exc:
        from kumofire_fsm.store.diagnosis import NOT_KNOWN

        if app is None and NOT_KNOWN in str(exc):
            exc.args = (f"{exc}; say where its application is: {NAMES_APP}",)
        raise


def _with_those_of(
    where: Place, app: str | None, work: Callable[[Jobs], Awaitable[T]], *, read_only: bool
) -> T:
    import asyncio

    of = application_of(app)
    if isinstance(where.at, Path):
        from kumofire_fsm.cli.storages import CountedStorage

        return using(
            where.at, lambda file: work(of.bind(db=CountedStorage(file, where.cost))), read_only=read_only
        )
    from kumofire_fsm.cli.storages import WranglerStorage
    from kumofire_fsm.engine.binding import Timing

    async def inside(storage: WranglerStorage) -> T:
        # No hint is sent from here, so it counts as lost at once: the next tick sends one.
        return await work(of.bind(db=storage, timing=Timing(redeliver_ms=0)))

    return asyncio.run(inside(WranglerStorage(where.at, where.cost)))


def _place(
    db: Database = None,
    d1: D1Name = None,
    local: Local = False,
    remote: Remote = False,
    config: Config = None,
    env: Environment = None,
    persist_to: PersistTo = None,
    cost: ShowCost = False,
) -> Place | None:
    """Return the one database that the options name; None where they name none.

    Raises:
        InvalidArgument: they name more than one, or half of one.
    """
    from kumofire_fsm.cli.storages import Cost

    if (db is not None) + (d1 is not None) > 1 or local + remote != (d1 is not None):
        raise InvalidArgument("give --db FILE, or --d1 NAME with one of --local and --remote")
    if (config or env or persist_to) and d1 is None:
        raise InvalidArgument("--config, --env and --persist-to belong to --d1 NAME")
    if db is not None:
        return Place(db, Cost(), cost)
    if d1 is None:
        return None
    from kumofire_fsm.cli.d1 import D1Database

    return Place(D1Database(d1, remote, config, env, persist_to), Cost(), cost)


_OPTIONS = inspect.signature(_place, eval_str=True).parameters
"""What every command takes in the stead of its ``where``."""


def on_database(*, needed: bool = True, counted: bool = True) -> Callable[[Command], Command]:
    """Give a command the options that name a database, as its argument ``where``.

    Args:
        needed: whether it is refused without one; else ``where`` is None then.
        counted: whether it can tell its cost.
    """
    options = {name: each for name, each in _OPTIONS.items() if counted or name != "cost"}

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**given: Any) -> None:
            where = _place(**{name: given.pop(name) for name in options})
            if where is None and needed:
                raise InvalidArgument("say which database: --db FILE, or --d1 NAME with --local or --remote")
            try:
                command(**given, where=where)
            finally:
                if where is not None and where.tells_cost:
                    echo(f"cost: {where.cost}", err=True)

        run.__signature__ = taking(command, "where", options)  # type: ignore[attr-defined]  # typer reads it
        return run

    return decorate
