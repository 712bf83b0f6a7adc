"""Stores new runs: all that one turn of the event loop creates goes into one statement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.moves import enqueued, follow
from kumofire_fsm.errors import InvalidArgument, RowRefused, SchemaMismatch
from kumofire_fsm.models import Created
from kumofire_fsm.runs.creation import NewRow, adoption
from kumofire_fsm.store.diagnosis import REGISTER, lacks_edge
from kumofire_fsm.values.jsontext import chunks
from kumofire_fsm.values.owner import Owner

__all__ = ["RunStore"]


class _Waiting(NamedTuple):
    """A row to store, and who waits for it."""

    row: NewRow
    created: asyncio.Future[Created]


class RunStore:
    """Where a client's new runs go."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._owner = Owner("this jobs API")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: list[_Waiting] = []
        self._storing: set[asyncio.Task[None]] = set()

    async def store_all(self, rows: Sequence[NewRow]) -> list[Created]:
        """Store rows in chunks of about 1 MB, each atomically.

        Raises:
            InvalidArgument, SchemaMismatch: see `_refusal`.
        """
        self._owner.here()
        created: list[Created] = []
        for chunk in chunks(rows, attrgetter("size")):
            try:
                created += await self._store(chunk)
            except RowRefused as exc:
                raise _refusal(chunk, exc) from exc
        return created

    def store_soon(self, row: NewRow) -> asyncio.Future[Created]:
        """Store a row together with all others of this turn of the event loop, in one statement."""
        loop = self._owner.here()
        if self._loop is not loop:
            self._loop, self._turn = loop, []  # what another loop has begun, it stores itself
        created: asyncio.Future[Created] = loop.create_future()
        self._turn.append(_Waiting(row, created))
        if len(self._turn) == 1:
            loop.call_soon(self._store_turn, self._turn)
        return created

    def _store_turn(self, turn: list[_Waiting]) -> None:
        if self._turn is turn:
            self._turn = []
        for part in chunks(turn, attrgetter("row.size")):
            task = asyncio.ensure_future(self._store_together(part))
            self._storing.add(task)
            task.add_done_callback(self._storing.discard)

    async def _store_together(self, part: Sequence[_Waiting]) -> None:
        """Store the rows of several callers; when the database refuses, each alone."""
        try:
            answers, made = await self._insert([each.row for each in part])
        except RowRefused as exc:
            if len(part) == 1:
                why = _refusal([part[0].row], exc)
                why.__cause__ = exc
                _tell(part[0].created, why)
            for each in part if len(part) > 1 else ():
                await self._store_together([each])
        except Exception as exc:
            for each in part:
                _tell(each.created, exc)
        except BaseException:
            for each in part:
                each.created.cancel()
            raise
        else:
            try:
                await self._follow(made)
            finally:  # stored is stored, whatever hooks do
                for each, answer in zip(part, answers, strict=True):
                    _tell(each.created, answer)

    async def _store(self, rows: Sequence[NewRow]) -> list[Created]:
        """Insert rows, then send their hints and call hooks."""
        created, made = await self._insert(rows)
        await self._follow(made)
        return created

    async def _insert(self, rows: Sequence[NewRow]) -> tuple[list[Created], list[NewRow]]:
        """Insert rows and their large payloads in one round trip; return also those that did not exist."""
        binding = self._binding
        binding.wake()
        statements = [binding.runs.insert([row.columns for row in rows])]
        keyed = {(*key, row.text) for row in rows if (key := row.dedupe) is not None}
        bodies = [row.stored(row.body) for row in rows if row.body is not None]
        if bodies:
            statements.append(binding.runs.insert_bodies("payload", bodies))
        if keyed:
            statements.append(binding.runs.find_holders(places := sorted(keyed)))
        statements[:0] = adoption(binding, {(job, key) for job, key, _ in keyed})
        answers = await binding.storage.batch(statements)
        holders = {places[place]: (held, other) for *_, held, other, place in answers[-1]} if keyed else {}
        created = []
        for row in rows:
            held, other = row.id, None
            if row.dedupe is not None:
                held, other = holders.get((*row.dedupe, row.text), (row.id, None))
            is_new = held == row.id
            differs = not is_new and other is not None and (other == "" or not _same(other, row.text))
            created.append(Created(held, is_new, differs))
        fresh = {each.kumofire_job_run_id for each in created if each.is_new}
        return created, [row for row in rows if row.id in fresh]

    async def _follow(self, made: Sequence[NewRow]) -> None:
        """Send the hints of rows that were inserted, by one send, and call hooks."""
        at = {row.id: row.columns["created_at"] for row in made}
        await follow(self._binding, (row.created for row in made), at, enqueued, created=at)


def _same(one: str, other: str) -> bool:
    """Return whether two JSON texts are the same value."""
    return bool(json.loads(one) == json.loads(other))


def _refusal(rows: Sequence[NewRow], cause: RowRefused) -> Exception:
    """Return why the database refused rows: one that it cannot hold, or a machine that it does not know."""
    if not lacks_edge(cause):
        return InvalidArgument(f"the database refused the run: {cause}")
    firsts = sorted({f"{row.columns['state']!r} of the machine {row.columns['machine']!r}" for row in rows})
    return SchemaMismatch(
        f"a run cannot be created in {', '.join(firsts)}: the database does not know it; {REGISTER}"
    )


def _tell(created: asyncio.Future[Created], answer: Created | Exception) -> None:
    """Give a caller its answer, unless it was cancelled meanwhile; its run is stored all the same."""
    if created.done():
        return
    if isinstance(answer, Exception):
        created.set_exception(answer)
    else:
        created.set_result(answer)
