"""``kumofire machine migrate``: brings the edges of an application's own machines into a database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.cli.copied import checked_copies, machine_files
from kumofire_fsm.cli.database import (
    ConfigOption,
    DatabaseOption,
    EnvOption,
    LocalOption,
    RemoteOption,
    SqliteOption,
    YesOption,
    apply_file,
    chosen,
    confirm,
    look_into,
)
from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.cli.machine_files import edges_in, script, write_file
from kumofire_fsm.errors import InvalidArgument, MigrationConflict, SchemaMismatch
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.store.edges import EdgeRow, Leftovers, known_edges, missing_edges
from kumofire_fsm.store.schema import VERSION, Ask, found_version

__all__ = ["machine_migrate_command"]

BUILT_IN = frozenset({RunMachine.spec.name, JobMachine.spec.name})
"""Machines whose edges the schema's own migrations bring."""


def machine_migrate_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Wrangler's migrations_dir; default migrations.")
    ] = None,
    contract: Annotated[
        bool, typer.Option("--contract", help="Remove edges that the machines no longer have.")
    ] = False,
    sqlite: SqliteOption = None,
    local: LocalOption = False,
    remote: RemoteOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
    env: EnvOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the SQL; change nothing.")] = False,
    yes: YesOption = False,
    schema_elsewhere: Annotated[
        bool, typer.Option("--schema-elsewhere", help="The schema comes by `kumofire migrate`, not from DIR.")
    ] = False,
) -> None:
    """Bring the edges of the application's own machines into a database, before code that uses them.

    Writes the next numbered file into DIR for `wrangler d1 migrations apply`, or changes one database at
    once: --sqlite, --local or --remote. Edges are only added, so code that runs now goes on. When the new
    code runs everywhere, --contract removes what its machines no longer have; it is refused while live
    runs are in a state that goes, and the file it writes checks that again when it is applied.
    """
    specs = [spec for spec in load_app(application).registry.machines() if spec.name not in BUILT_IN]
    if not specs:
        typer.echo(f"{application} has no machine of its own: nothing to do")
        return
    if not (sqlite or local or remote):
        if database or config or env:
            raise InvalidArgument("--database, --config and --env belong to --local and --remote")
        where = folder or Path("migrations")
        plan = _plan(edges_in(where, specs), specs, contract=contract)
        if plan.edges and not schema_elsewhere:
            _check_schema(where)
        _write(where, plan, dry_run=dry_run)
        return
    if folder is not None:
        raise InvalidArgument("give --dir to write a file, or a database to change it at once; not both")
    target = chosen(sqlite, database, config, env, local=local, remote=remote)
    if isinstance(target, Path):
        _change_file(target, specs, contract=contract, dry_run=dry_run)
        return
    plan = _checked_plan(target.ask, str(target), specs, contract=contract)
    if plan.edges and not dry_run:
        confirm(target, plan.said, yes=yes)
        apply_file(target, "kumofire_machines.sql", plan.sql)
    _say(plan, str(target), dry_run=dry_run)


class _Plan(NamedTuple):
    """What a command changes: the edges, and the file of SQL that does it."""

    edges: Sequence[EdgeRow]
    sql: str
    contract: bool

    @property
    def said(self) -> str:
        machines = ", ".join(dict.fromkeys(edge.machine for edge in self.edges))
        what = "the removal" if self.contract else "the addition"
        return f"{what} of {len(self.edges)} edge{'s' * (len(self.edges) > 1)} of {machines}"


def _plan(known: Sequence[EdgeRow], specs: Sequence[MachineSpec], *, contract: bool) -> _Plan:
    if contract:
        left = Leftovers.of(specs, known)
        return _Plan(left.edges, script(left.statements(), contract=True), contract=True)
    missing = missing_edges(specs, known)
    return _Plan(missing, script([edge.insert() for edge in missing], contract=False), contract=False)


def _checked_plan(ask: Ask, where: str, specs: Sequence[MachineSpec], *, contract: bool) -> _Plan:
    """Return the plan for a database, after a look at its schema and its live runs."""
    if (version := found_version(ask)) < VERSION:
        raise SchemaMismatch(
            f"{where} has schema {version}, and this code is for schema {VERSION}; "
            "bring it up to date first: kumofire migrate"
        )
    known = known_edges(ask, specs)
    held = Leftovers.of(specs, known).held(ask) if contract else {}
    if held:
        states = ", ".join(f"{n} in {state!r} of {machine!r}" for (machine, state), n in held.items())
        raise MigrationConflict(
            f"{sum(held.values())} live runs of {where} are in a state that goes: {states}; let them "
            "finish, or move them with code that still has the state; nothing was changed"
        )
    return _plan(known, specs, contract=contract)


def _check_schema(folder: Path) -> None:
    """Refuse a folder whose first kumofire file would be one that needs the schema."""
    if folder.exists() and (not folder.is_dir() or checked_copies(folder) or machine_files(folder)):
        return  # what is no folder is refused when it is written to
    raise MigrationConflict(
        f"{folder} has no kumofire migration, and the edges of machines need the schema before them; run "
        f"kumofire migrations copy {folder} first; where `kumofire migrate` brings the schema, give "
        "--schema-elsewhere"
    )


def _write(folder: Path, plan: _Plan, *, dry_run: bool) -> None:
    if plan.edges and not dry_run:
        typer.echo(f"wrote {write_file(folder, plan.sql, contract=plan.contract)}: {plan.said}")
        return
    _say(plan, str(folder), dry_run=dry_run)


def _change_file(file: Path, specs: Sequence[MachineSpec], *, contract: bool, dry_run: bool) -> None:
    if not file.exists():
        raise InvalidArgument(f"there is no file {file}; make it first: kumofire migrate --sqlite {file}")

    def look(db: sqlite3.Connection) -> _Plan:
        return _checked_plan(db.execute, str(file), specs, contract=contract)

    def change(db: sqlite3.Connection) -> _Plan:
        plan = look(db)
        for line in plan.sql.splitlines()[1:]:
            db.execute(line)
        return plan

    async def apply() -> Any:
        storage = SqliteStorage(file)
        try:
            return await storage.call(change)
        finally:
            await storage.close()

    _say(look_into(file, look) if dry_run else asyncio.run(apply()), str(file), dry_run=dry_run)


def _say(plan: _Plan, where: str, *, dry_run: bool) -> None:
    if not plan.edges:
        state = "no edge that is not used" if plan.contract else "every edge of the machines already"
        typer.echo(f"{where} has {state}: nothing to do")
    elif dry_run:
        typer.echo(f"would apply {plan.said} to {where}:\n{plan.sql}", nl=False)
    else:
        typer.echo(f"applied {plan.said} to {where}")
