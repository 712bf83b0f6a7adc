"""The one door: every move of a run passes here, and what must follow it is done here, once.

A statement moves a set of runs. Around rows that the database refuses the set is halved. Whoever waits in
this process is told, hints are sent, and the application's hooks are called.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from kumofire_fsm.engine.binding import HANDLED, Binding
from kumofire_fsm.engine.halving import in_halves
from kumofire_fsm.engine.observing import tell_settled
from kumofire_fsm.engine.patience import patiently
from kumofire_fsm.engine.reading import is_settled
from kumofire_fsm.engine.refusals import refusal
from kumofire_fsm.engine.timed import Timed
from kumofire_fsm.errors import (
    RowRefused,
    StoreError,
)
from kumofire_fsm.machines.expression import Name
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Hint, Row, Statement
from kumofire_fsm.store.diagnosis import explained
from kumofire_fsm.store.rows import Move, Moved
from kumofire_fsm.values.error_text import error_line

__all__ = [
    "Fired",
    "Hints",
    "admission",
    "admitted_by",
    "batch_of",
    "enqueued",
    "fire",
    "fire_one",
    "follow",
    "follow_admitted",
    "freed_keys",
    "give_way",
    "move_statement",
    "send_hints",
    "startable_by",
]

log = logging.getLogger(__package__)


class Hints(NamedTuple):
    """How many hints the queue took, and how many it refused."""

    sent: int = 0
    refused: int = 0


class Fired(NamedTuple):
    """The runs that moved, by id, and why the database refused to move others.

    ``left`` are those that it refused together, when no statements were left to try them apart.
    """

    moved: dict[str, Moved]
    refused: Mapping[str, Exception]
    left: Collection[str] = ()


ADMISSION: Final = "runs.admit"
"""What the statement is called that admits held runs, beside the moves that make room for them."""


WantsHint = Callable[[Binding, Moved], bool]
"""Tells whether a hint follows a move."""


def enqueued(binding: Binding, run: Moved) -> bool:
    """Return whether a run is in a state in which a hint is on its way: so it has to be sent."""
    return binding.runs.hinted(run.state, run.machine)


def startable_by(event: str) -> WantsHint:
    """Return what tells whether a hint follows people's event: a consumer may start the run soon, by that.

    What a person has moved there stays in its state: a hint starts whatever is claimable and due. What could
    start before, and keeps its deadline, keeps the hint of that deadline: a signal that is only kept, say.
    """

    def startable(binding: Binding, run: Moved) -> bool:
        spec = binding.runs.specs[run.machine]
        near = run.run_at <= binding.now() + binding.timing.horizon_ms
        return near and spec.has_role(run.state, Role.CLAIMABLE) and not _keeps_deadline(spec, run, event)

    return startable


def _keeps_deadline(spec: MachineSpec, run: Moved, event: str) -> bool:
    """Return whether a run could start before the event, and has the deadline that it had."""
    if run.was is None or not spec.has_role(run.was, Role.CLAIMABLE):
        return False
    edges = [edge for edge in spec.edges_from(run.was, event) if edge.target == run.state]
    return all(edge.assigns.get("wake_at") == Name("wake_at") for edge in edges)


def move_statement(binding: Binding, moves: Sequence[Move]) -> Statement:
    """Return the one statement that fires events on runs; where one move carries a claim, all are fenced."""
    events = sorted({move.event for move in moves})
    return binding.runs.fire(events, moves, fenced=any(move.claim is not None for move in moves))


async def fire(
    binding: Binding,
    moves: Sequence[Move],
    batch: Callable[[Sequence[Move]], Sequence[Statement]] | None = None,
    has_hint: Container[str] = (),
    hint: WantsHint | None = None,
) -> Fired:
    """Fire events on runs, and do what follows.

    A row that the database refuses is left as it was and logged; the others move, as far as the event's
    statements reach to tell them apart. What neither moved nor was refused or left has been moved by somebody
    else, or is gone.

    Args:
        binding: the application on its database.
        moves: the events; all carry a claim, or none does.
        batch: the statements for some of the moves, the move first, where others belong in its transaction;
            they may be executed twice. Without it, the time of the moves is that of their writing.
        has_hint: of the held runs that these statements admit, those that need no hint.
        hint: tells for which of the moved runs a hint is sent; where a person moves them.
    """
    at, admitted = {move.id: move.now for move in moves}, list[Moved]()
    refused: dict[str, Exception] = {}
    left: list[str] = []

    async def move(part: Sequence[Move]) -> list[Row]:
        if batch is not None:
            statements = batch(part)
            answers = await patiently(binding, partial(batch_of, binding, statements), len(statements))
            admitted.extend(admitted_by(statements, answers))
            return answers[0]
        timed = Timed(binding.clock)
        rows = await binding.storage.execute(timed(lambda now: move_statement(binding, _moved_at(part, now))))
        at.update(dict.fromkeys((move.id for move in part), timed.now))
        return rows

    def note(move: Move, why: RowRefused) -> None:
        refused[move.id] = why
        told = move.event, move.id, explained(why)
        said = "%s on run %s was refused, and is left as it was: %s"
        log.error(said, *told, extra={"run_id": move.id})

    def leave(part: Sequence[Move]) -> None:
        left.extend(each.id for each in part)

    rows = await in_halves(binding, move, list(moves), note, leave) if moves else []
    if left:
        log.error("%d runs beside refused ones are left as they were: no statements are left", len(left))
    moved = {row[0]: Moved(*row) for row in rows}
    if moved and _may_change_state(binding, moves):
        await follow(binding, moved.values(), at, hint)
        if hint is not None:
            await give_way(binding, moved.values())
    await follow_admitted(binding, admitted, max(at.values(), default=0), has_hint)
    return Fired(moved, refused, left)


async def batch_of(binding: Binding, statements: Sequence[Statement]) -> list[list[Row]]:
    """Execute statements that settle runs; a held run that cannot be admitted stands in nobody's way."""
    try:
        return await binding.storage.batch(statements)
    except RowRefused as exc:
        others = [each for each in statements if each.name != ADMISSION]
        if len(others) == len(statements) or not binding.budget.affords(len(others)):
            raise
        answers = await binding.storage.batch(others)
        log.warning("held runs could not be admitted; they look for room by themselves: %s", exc)
        return [answers.pop(0) if each.name != ADMISSION else [] for each in statements]


def admitted_by(statements: Sequence[Statement], answers: Sequence[Sequence[Row]]) -> list[Moved]:
    """Return the held runs that a batch has admitted."""
    told = zip(statements, answers, strict=True)
    return [Moved(*row) for statement, rows in told if statement.name == ADMISSION for row in rows]


async def follow_admitted(
    binding: Binding, runs: Sequence[Moved], at: int, has_hint: Container[str] = ()
) -> None:
    """Do what follows when held runs were admitted: each gets a hint, unless it has one already."""
    if runs:
        await follow(binding, runs, at, lambda of, run: run.id not in has_hint and enqueued(of, run))


def _moved_at(moves: Sequence[Move], now: int) -> list[Move]:
    return [move._replace(now=now) for move in moves]


async def fire_one(binding: Binding, move: Move, hint: WantsHint | None = None) -> Moved:
    """Fire an event on one run, at the time of the writing, and do what follows.

    Raises:
        UnknownRun: no run has this id.
        TransitionError: it did not move; the kind tells why.
        SchemaMismatch: the database does not know the run's machine, or this edge of it.
    """
    timed = Timed(binding.clock)
    statement = timed(lambda now: move_statement(binding, _moved_at([move], now)))
    try:
        rows = await binding.storage.execute(statement)
    except RowRefused as exc:
        raise await refusal(binding, move, exc) from exc
    if not rows:
        raise await refusal(binding, move)
    moved = Moved(*rows[0])
    if _may_change_state(binding, [move]):
        await follow(binding, [moved], timed.now, hint)
        await give_way(binding, [moved])
    return moved


def _may_change_state(binding: Binding, moves: Sequence[Move]) -> bool:
    """Return whether anything may follow: a heartbeat, say, changes nothing that others wait for."""
    specs = binding.runs.specs.values()
    return any(event not in spec.loops for event in {move.event for move in moves} for spec in specs)


async def follow(
    binding: Binding,
    moved: Iterable[Moved],
    at: int | Mapping[str, int],
    hint: WantsHint | None = None,
    *,
    created: Container[str] = (),
) -> Hints:
    """Do what follows moves that were committed: tell handlers and who waits, send hints, call hooks.

    Args:
        binding: the application on its database.
        moved: the runs after their moves; a run that was created counts.
        at: when they were moved, in milliseconds, of all or by id.
        hint: tells for which of them a hint is sent; None for none.
        created: the ids of those that the statement created.
    """
    hinting = hint is not None and binding.queue is not None
    watched = binding.registry.observer.watches
    telling = binding.waiters or binding.unsettled or binding.tell or watched
    if not (telling or binding.registry.hooks or hinting):
        return Hints()
    moved = list(moved)
    caller = HANDLED.get()  # its cancellation would end what follows here: it is told last
    if binding.tell is not None:
        binding.tell(moved if caller is None else [run for run in moved if run.id != caller])
    if watched:
        tell_settled(binding, moved)
    if binding.waiters or binding.unsettled:
        binding.tell_settled(
            run.id for run in moved if is_settled(binding, run.machine, run.state, run.wake_at)
        )
    hints = Hints()
    try:
        if hint is not None and hinting:
            hints = await send_hints(binding, [(run.id, run.run_at) for run in moved if hint(binding, run)])
        if binding.registry.hooks and binding.on_moved is not None and moved:
            await binding.on_moved(moved, at, created)
    finally:
        if caller is not None and binding.tell is not None:
            binding.tell([run for run in moved if run.id == caller])
    return hints


def freed_keys(binding: Binding, ended: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Return the keys of runs that ended, where that makes room for others: not where there is a rate alone.

    Args:
        binding: the application on its database.
        ended: their jobs and keys.
    """
    rates, limits = binding.registry.key_rates, binding.registry.key_limits
    return [(job, key) for job, key in ended if key is not None and (job in limits or job not in rates)]


def admission(binding: Binding, keys: Iterable[tuple[str, str]], now: int) -> Statement:
    """Return the statement that admits a held run for each place that a run of a (job, key) gave up."""
    freed = [(job, key, number) for (job, key), number in Counter(keys).items()]
    timing = binding.timing.columns()
    return binding.runs.admit(freed, timing=timing, now=now, key_limits=binding.key_limits())


async def give_way(binding: Binding, moved: Iterable[Moved]) -> None:
    """Admit held runs in the place of runs that had theirs, and will not start: settled, or put off.

    Whatever fails is left to the deadlines of the held runs. Settles and sweeps do it by themselves.
    """
    rest = [run for run in moved if run.concurrency_key and _rests(binding, run)]
    keys = freed_keys(binding, [(run.job, run.concurrency_key) for run in rest]) if rest else []
    if not keys:
        return
    timed = Timed(binding.clock)
    try:
        rows = await binding.storage.execute(timed(lambda now: admission(binding, keys, now)))
    except StoreError as exc:
        log.warning("held runs could not be admitted; they look for room by themselves: %s", exc)
        return
    binding.wake()
    await follow_admitted(binding, [Moved(*row) for row in rows], timed.now)


def _rests(binding: Binding, run: Moved) -> bool:
    """Return whether a run is settled, or is to start later."""
    spec = binding.runs.specs[run.machine]
    later = spec.has_role(run.state, Role.CLAIMABLE) and run.run_at > binding.now()
    return later or spec.has_role(run.state, Role.SETTLED)


async def send_hints(binding: Binding, runs: Sequence[tuple[str, int]]) -> Hints:
    """Send hints for (id, due) pairs.

    A refusal is not the caller's error: the run is stored, and its deadline is pulled forward.
    """
    if binding.queue is None or not runs:
        return Hints()
    now = binding.now()
    hints = [Hint(run_id, max(0, -(-(run_at - now) // 1000))) for run_id, run_at in runs]
    try:
        await binding.queue.send(hints)
    except Exception as exc:  # of a queue of the application's own
        said = "the queue refused %d hints (%s); they will be sent again"
        log.warning(said, len(hints), error_line(exc))
        try:
            await fire(binding, [binding.move(run_id, "nudge", now=now) for run_id, _ in runs])
        except StoreError as again:  # the run is stored all the same, and its deadline stands
            log.warning("their deadlines could not be pulled forward: %s", again)
        return Hints(refused=len(hints))
    return Hints(sent=len(hints))
