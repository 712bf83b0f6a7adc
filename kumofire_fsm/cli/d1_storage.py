"""The storage port on a D1 database that is reached through wrangler: for commands of people, and slow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kumofire_fsm.cli.d1 import D1Database
from kumofire_fsm.errors import WranglerError
from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.ports import Row, Statement

__all__ = ["WranglerStorage"]


class WranglerStorage:
    """Runs each statement by one call of wrangler; several of a batch are one call, all or nothing.

    Args:
        database: where.
    """

    def __init__(self, database: D1Database) -> None:
        self._database = database

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`.

        Raises:
            WranglerError: wrangler is missing, or failed.
        """
        return (await self.batch([statement]))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        # A file would be imported, and of an import only a summary comes back.
        said = self._database.execute("--command", ";\n".join(map(_spelled, statements)))
        try:
            answers = [answer["results"] for answer in json.loads(said)]
            return [[tuple(row.values()) for row in rows] for rows in answers]
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise WranglerError(f"wrangler's answer is not understood: {said:.500}") from exc


def _spelled(statement: Statement) -> str:
    """Return a statement's text with its one parameter written into it."""
    argument: Any = statement.given()
    return statement.sql if argument is None else statement.sql.replace("?1", quoted(argument))
