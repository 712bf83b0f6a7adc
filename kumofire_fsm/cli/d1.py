"""A D1 database, looked at and changed through wrangler."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kumofire_fsm.cli.terminal import ask
from kumofire_fsm.cli.wrangler import run_wrangler
from kumofire_fsm.errors import InvalidArgument, MigrationConflict, WranglerError
from kumofire_fsm.store.schema import Aim, Change, applied_by_wrangler

__all__ = ["D1Database"]


@dataclass(frozen=True, slots=True)
class D1Database:
    """A D1 database, as wrangler reaches it from the current folder.

    Attributes:
        name: its name or binding in wrangler's configuration.
        remote: whether it is the one in Cloudflare's network, or wrangler's local one.
        config: wrangler's configuration file; None leaves the search to wrangler.
        environment: the configuration's named environment.
        persist_to: where wrangler keeps its local databases; None for beside its configuration.
        yes: whether to change the remote one without a question.
    """

    name: str
    remote: bool
    config: Path | None = None
    environment: str | None = None
    persist_to: Path | None = None
    yes: bool = False

    def __post_init__(self) -> None:
        if self.persist_to and self.remote:
            raise InvalidArgument("--persist-to belongs to --local, and not to --remote")

    def __str__(self) -> str:
        return f"{self.name} ({'remote' if self.remote else 'local'})"

    def migrate(self, aim: Aim, *, dry_run: bool) -> Change:
        """Do all that is to be done, or nothing; return what that is.

        Raises:
            MigrationConflict: wrangler applied the files of a folder to it.
            WranglerError: wrangler is missing, or failed.
        """
        ask = cache(self._ask)  # each question takes wrangler seconds
        change = aim(ask)
        if change and (copies := applied_by_wrangler(ask)):
            raise MigrationConflict(
                f"{self} got {copies[-1]} from `wrangler d1 migrations apply`; to {change.verb} {change}, go "
                "on that way: the same command with --dir DIR, then wrangler d1 migrations apply"
            )
        if change and not dry_run:
            self._confirm(change)
            self._apply(change)
        return change

    def _confirm(self, change: Change) -> None:
        """Ask before a database at Cloudflare is changed; who says no ends the command."""
        if self.yes or not self.remote:
            return
        ask(f"{change.verb} {change}", about=f"{self}: ", beside=" It answers no queries meanwhile")

    def _apply(self, change: Change) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "kumofire.sql"
            file.write_bytes("\n".join([*change.statements(), ""]).encode())
            try:
                self.execute("--file", str(file))
            except WranglerError as exc:
                raise WranglerError(
                    f"{self}: to {change.verb} {change} failed; D1 keeps all of it or nothing, so run the "
                    f"command again when the cause is mended: {exc}"
                ) from exc

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one query and return its rows."""
        said = self.execute("--command", sql)
        try:
            (answer,) = json.loads(said)
            return [tuple(row.values()) for row in answer["results"]]
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise WranglerError(f"wrangler's answer about {self} is not understood: {said:.500}") from exc

    def execute(self, option: str, value: str) -> str:
        """Have wrangler execute a file or a command; return what it says."""
        where = "--remote" if self.remote else "--local"
        command = ["d1", "execute", self.name, where, "--json", "--yes", option, value]
        if self.config is not None:
            command += ["--config", str(self.config)]
        if self.environment is not None:
            command += ["--env", self.environment]
        if self.persist_to is not None:
            command += ["--persist-to", str(self.persist_to)]
        return run_wrangler(command)
