"""Consumes queue messages: claims the runs they hint at, has them worked on, and concludes each message.

Whatever happens, each message is acknowledged when the database holds what follows, and retried otherwise.
A message is never acknowledged away while its run may still need it.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.due import Claimed, claim_hinted, statements_of_claim
from kumofire_fsm.engine.moves import freed_keys
from kumofire_fsm.engine.reading import read_runs
from kumofire_fsm.errors import InvalidArgument, InvalidMessage, StoreError
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.paces import read_paces
from kumofire_fsm.store.rows import ClaimedRun, RunRow
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.error_text import error_line
from kumofire_fsm.values.message import read_message
from kumofire_fsm.values.printable import shown
from kumofire_fsm.work.batch import Batch, SettleMode
from kumofire_fsm.work.disposition import (
    STORE_ERROR_S,
    Disposition,
    by_rate,
    conclude,
    counted,
    full,
    without_claim,
)
from kumofire_fsm.work.renewal import one_hint_each, renewed

__all__ = ["check_options", "consume", "consume_batch"]

log = logging.getLogger(__package__)

MOST_AT_ONCE: Final = 100
"""Handlers at once: a batch has no more messages
(https://developers.cloudflare.com/queues/platform/limits/)."""


async def consume(binding: Binding, message: Any) -> Disposition:
    """Consume one message, or one bare body.

    Raises:
        InvalidMessage: a bare body is not one of ours; a message with ``retry`` is retried instead,
            so that it ends in the dead-letter queue.
    """
    (disposition,) = await consume_batch(binding, [message])
    if disposition.run_id is None and not hasattr(message, "retry"):
        _run_id(message)
    return disposition


async def consume_batch(
    binding: Binding, batch: Any, *, concurrency: int = 1, settle: SettleMode = "grouped"
) -> list[Disposition]:
    """Consume a batch (anything with ``messages``, or a list), and acknowledge or retry each message.

    Raises:
        InvalidArgument: it is not a batch, or an option is out of range or unknown.
    """
    check_options(concurrency, settle)
    with binding.budget.event():
        return await _consume(binding, batch, concurrency, settle)


async def _consume(binding: Binding, batch: Any, concurrency: int, settle: SettleMode) -> list[Disposition]:
    listed = getattr(batch, "messages", batch)
    if isinstance(listed, (str, bytes, bytearray, Mapping)) or not isinstance(listed, Iterable):
        raise InvalidArgument(f"a batch has messages, or is a list of them; found {shown(batch)}")
    messages = list(listed)
    first = [_read(message) for message in messages]
    ids = list(dict.fromkeys(each.run_id for each in first if each.run_id is not None))
    work = Batch(binding, concurrency=concurrency, mode=settle, hinted=ids)
    try:
        if ids:
            await _work(binding, work, ids)
    except StoreError as exc:
        log.error("the database failed a claim (%s); the messages are delivered again", exc)
    final = [work.dispositions.get(each.run_id, each) if each.run_id else each for each in first]
    final = await renewed(binding, messages, one_hint_each(counted(final, binding.now())))
    for message, disposition in zip(messages, final, strict=True):
        conclude(message, disposition)
    return final


async def _work(binding: Binding, batch: Batch, ids: Sequence[str]) -> None:
    claiming = statements_of_claim(binding) + bool(binding.registry.hooks)
    claimed = await claim_hinted(binding, ids, alone=len(ids) == 1)
    await batch.work(claimed)
    rest = _without(ids, claimed.runs)
    rows = await read_runs(binding, rest) if rest else {}
    keys, left = _freed(binding, claimed), rest

    def waiting() -> list[str]:
        return [each for each in left if _waits(binding, rows.get(each), keys)]

    while claimed.runs and batch.begins_more(claiming):
        # Runs of their jobs or keys have ended here, and made room for others.
        fits = [each for each in waiting() if _has_time(binding, batch, rows[each])]
        if not fits:
            break
        claimed = await claim_hinted(binding, fits, alone=len(fits) == 1)
        await batch.work(claimed)
        keys, left = keys | _freed(binding, claimed), _without(left, claimed.runs)
    for run_id in left:
        row = rows.get(run_id)
        if row is not None and row.starts_alone and _is_startable(binding, row):
            # It lost shared claims twice in a row: it starts alone, or not at all.
            if batch.begins_more(claiming) and _has_time(binding, batch, row):
                claimed = await claim_hinted(binding, [run_id], alone=True)
                await batch.work(claimed)
                keys |= _freed(binding, claimed)
            else:
                reason = "no statements are left, or no time"
                batch.dispositions[run_id] = Disposition(
                    run_id, ack=False, delay_s=1, reason=reason, goes_on=True
                )
    waits = waiting()
    if moved := [each for each in waits if rows[each].concurrency_key is not None]:
        rows |= await read_runs(binding, moved)
    turns = [rows[each] for each in waits if _awaits_turn(binding, rows[each])]
    batch.dispositions |= await _until_their_turns(binding, batch, turns)
    for run_id in rest:
        if run_id not in batch.dispositions:
            batch.dispositions[run_id] = without_claim(binding, run_id, rows.get(run_id))


def _freed(binding: Binding, claimed: Claimed) -> set[tuple[str, str | None]]:
    """Return the keys whose other runs may start now that these were worked on."""
    return set(freed_keys(binding, [(run.job, run.concurrency_key) for run in claimed.runs]))


def _without(ids: Iterable[str], claimed: Sequence[ClaimedRun]) -> list[str]:
    started = {run.id for run in claimed}
    return [run_id for run_id in ids if run_id not in started]


def _has_time(binding: Binding, batch: Batch, row: RunRow) -> bool:
    return batch.has_time(binding.registry.get(row.job).timeout_ms)


def _waits(binding: Binding, row: RunRow | None, keys: Container[tuple[str, str | None]]) -> bool:
    """Return whether nothing but its job's limit or rate, or a key of these, keeps a run from its start."""
    if row is None or row.starts_alone or row.slots == 0:
        return False
    if row.expires_at is not None and row.expires_at <= binding.now():
        return False
    return (row.job, row.concurrency_key) in keys or _awaits_turn(binding, row)


def _awaits_turn(binding: Binding, row: RunRow) -> bool:
    """Return whether a run is due whose job has a limit or a rate."""
    if not _is_startable(binding, row):
        return False
    return _limit(binding, row) is not None or binding.registry.get(row.job).rate is not None


def _limit(binding: Binding, row: RunRow) -> int | None:
    return binding.registry.get(row.job).limit if row.slots is None else row.slots


async def _until_their_turns(
    binding: Binding, batch: Batch, waiting: Sequence[RunRow]
) -> dict[str, Disposition]:
    """Return the dispositions on messages whose runs wait for a slot, or for their turn by a rate."""
    found, places = {}, Counter[str]()
    rated = {row.job: rate for row in waiting if (rate := binding.registry.get(row.job).rate) is not None}
    paced: dict[str, int | None] = {}
    if rated and batch.affords_more(1):
        paced = dict(await binding.storage.execute(read_paces(list(rated))))
    for row in waiting:
        place, limit = places[row.job], _limit(binding, row)
        places[row.job] += 1
        turn = (
            rated[row.job].turn_ms(paced[row.job] or 0, binding.now(), place) if paced.get(row.job) else None
        )
        if turn is not None and turn > binding.now():
            found[row.id] = by_rate(binding, row, turn)
        else:
            found[row.id] = full(binding, row, place // (limit or 1))
    return found


def _is_startable(binding: Binding, row: RunRow) -> bool:
    definition = binding.definition(row.job)
    claimable = definition is not None and definition.machine.has_role(row.state, Role.CLAIMABLE)
    return claimable and row.run_at <= binding.now()


def check_options(concurrency: int, settle: SettleMode) -> None:
    """Check how batches are consumed.

    Args:
        concurrency: handlers of a batch under way at once.
        settle: "grouped" settles up to 25 endings by one statement; "each" settles one by one.

    Raises:
        InvalidArgument: one of them is out of range or unknown, or this Python is too old for it.
    """
    whole_number(concurrency, "concurrency", MOST_AT_ONCE)
    if settle not in ("grouped", "each"):
        raise InvalidArgument(f'settle must be "grouped" or "each"; found {shown(settle)}')
    if concurrency > 1 and sys.platform == "emscripten" and sys.version_info < (3, 14):
        raise InvalidArgument(
            "concurrency in a Worker needs CPython 3.14, where tasks of one event are safe; set "
            '"compatibility_date" to "2026-09-08" or later in wrangler.jsonc'
        )


def _read(message: Any) -> Disposition:
    """Return what becomes of a message if nothing else is found out."""
    try:
        run_id = _run_id(message)
    except InvalidMessage as exc:
        log.error("%s", exc)
        return Disposition(None, ack=False, reason=str(exc))
    return Disposition(run_id, ack=False, delay_s=STORE_ERROR_S, reason="the database failed")


def _run_id(message: Any) -> str:
    try:
        body = getattr(message, "body", message)
    except Exception as exc:
        raise InvalidMessage(f"a message's body could not be read: {error_line(exc)}") from exc
    return read_message(body)
