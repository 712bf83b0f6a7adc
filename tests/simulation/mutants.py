"""Proves the prover: defects put into the code on purpose, each of which an invariant must catch.

Most change a statement on its way to the database, or what a port gives back: so they say what the
defect is, and not where in the package somebody might make it. A change that no longer applies fails.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kumofire_fsm import claiming, pool, storing
from kumofire_fsm.attempt import Attempt
from kumofire_fsm.errors import QueueError, TransientStoreError
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.pool import WorkerPool
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.upkeep import Upkeep
from simulation.handlers import Applications
from simulation.history import Result, play
from simulation.queue import Delivery
from simulation.storage import ActorStorage, Database

__all__ = ["MUTANTS", "SEEDS", "Mutant", "catch"]

SEEDS = 500
"""A mutant that survives the histories of so many seeds is not caught."""

Patch = tuple[object, str, Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defect.

    Attributes:
        statements: which statements it changes, a pattern on their names.
        changes: (pattern, replacement) pairs for their SQL.
        patches: (object, attribute, function of the original) triples.
        schema: SQL that weakens the database first.
        setting: where it is looked for; see `simulation.history.SETTINGS`.
    """

    name: str
    statements: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    patches: tuple[Patch, ...] = ()
    schema: str = ""
    setting: str = "workers"

    @contextmanager
    def applied(self) -> Iterator[Database]:
        """Give a database in which the statements are changed, and put the patches in place."""
        database = Database()
        if self.schema:
            database.db.executescript(self.schema)
        if self.changes:
            database.rewrite = self._rewrite
        originals = [(where, name, getattr(where, name)) for where, name, _ in self.patches]
        for where, name, change in self.patches:
            setattr(where, name, change(getattr(where, name)))
        try:
            yield database
        finally:
            for where, name, original in originals:
                setattr(where, name, original)
            database.db.close()

    def _rewrite(self, statement: Statement) -> str:
        sql = statement.sql
        if re.fullmatch(self.statements, statement.name):
            for pattern, replacement in self.changes:
                sql, times = re.subn(pattern, replacement, sql)
                assert times, f"{self.name}: {pattern!r} does not occur in {statement.name}; adapt the mutant"
        return sql


def catch(mutant: Mutant, seeds: int = SEEDS) -> Result | None:
    """Return the first history in which an invariant catches a mutant; None when it survives all."""
    applications = Applications()
    with mutant.applied() as database:
        for seed in range(seeds):
            result = play(seed, setting=mutant.setting, parts=(database, applications))
            if result.violation is not None:
                return result
    return None


# -- defects that a changed statement cannot express ----------------------------------------------


def _in_pieces(batch: Any) -> Any:
    async def each_alone(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        if any("insert_occurrences" in statement.name for statement in statements):
            return [(await batch(self, [statement]))[0] for statement in statements]
        return await batch(self, statements)

    return each_alone


def _unstored(batch: Any) -> Any:
    async def pretend(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        if statements[0].name == "runs.insert":
            rows = [(row[0],) for row in json.loads(statements[0].argument or "")["rows"]]
            return [rows, *([] for _ in statements[1:])]
        return await batch(self, statements)

    return pretend


def _settled_inside(batch: Any) -> Any:
    """Count a storage error after a success as the handler's failure."""
    statements_of_runs = RunStatements([RunMachine.spec])

    async def failing(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        try:
            return await batch(self, statements)
        except TransientStoreError:
            if statements[0].name == "runs.succeed":
                moves = [
                    [row[0], "retry", row[2], row[3], row[4], "it failed", row[4], None, 0, 0, 0, 0, 0]
                    for row in json.loads(statements[0].argument or "")
                ]
                await batch(self, [statements_of_runs.fire(["retry"], moves, fenced=True)])
            raise

    return failing


def _endless_lease(batch: Any) -> Any:
    """Tell a consumer that its lease never ends."""
    at = ClaimedRun._fields.index("wake_at")

    async def longer(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        answers = await batch(self, statements)
        if statements[0].name == "runs.claim":
            answers[0] = [(*row[:at], row[at] + 10**9, *row[at + 1 :]) for row in answers[0]]
        return answers

    return longer


def _taken_away(retry: Any) -> Any:
    """Acknowledge a message whose run somebody else works on."""

    def ack_if_leased(self: Delivery, *, delaySeconds: int = 0) -> None:
        run = self._actor.saw.get(self.message.run_id)
        if run is not None and run.claim is not None and run.timeout_at is not None:
            self.ack()
        else:
            retry(self, delaySeconds=delaySeconds)

    return ack_if_leased


def _refusing(send_hints: Any) -> Any:
    async def raising(binding: Any, runs: Any) -> int:
        refused: int = await send_hints(binding, runs)
        if refused:
            raise QueueError("the queue refused")
        return refused

    return raising


def _never(duty: Any) -> Any:
    """Leave a duty of the embedded worker undone."""

    async def wait(_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    return wait


def _without_drain(drain: Any) -> Any:
    async def leave(_pool: Any, _grace: float) -> None:
        pass

    return leave


def _always_alone(claim: Any) -> Any:
    async def alone(*args: Any, **options: Any) -> Any:
        return await claim(*args, **{**options, "alone": True})

    return alone


def _twice(perform: Any) -> Any:
    async def again(self: Attempt, *args: Any, **options: Any) -> Any:
        await perform(self, *args, **options)
        return await perform(self, *args, **options)

    return again


_FIRES = r"runs\.[a-z+]*(succeed|retry|fail|snooze|release|stop|heartbeat)[a-z+]*"
_DROP_TRIGGERS = "DROP TRIGGER kumofire_runs_move; DROP TRIGGER kumofire_runs_wake;"
_LIMIT = r" LIMIT (\(\?1 ->> '\$\.limit'\)( \+ 1)?|\?1 ->> '\$\.limit')"
_NO_DEADLINE = (r", wake_at = CASE .* END FROM a WHERE r\.", ", wake_at = NULL FROM a WHERE r.")

MUTANTS = (
    Mutant("a settle is not fenced", _FIRES, ((r" AND r\.starts = a\.starts AND r\.claim = a\.claim", ""),)),
    Mutant("a live lease's message is acknowledged", patches=((Delivery, "retry", _taken_away),)),
    Mutant("settling stands inside the handler's try", patches=((ActorStorage, "batch", _settled_inside),)),
    Mutant("occurrences take two statements", patches=((ActorStorage, "batch", _in_pieces),)),
    Mutant("a start sets no deadline", r"runs\.claim", (_NO_DEADLINE,)),
    Mutant("a start sets no deadline, no trigger", r"runs\.claim", (_NO_DEADLINE,), schema=_DROP_TRIGGERS),
    Mutant(
        "a sweep ignores leases",
        r"runs\.sweep",
        (
            (r"d\.wake_at <= \(\?1 ->> '\$\.now'\)", "(d.state = 'running' OR \\g<0>)"),
            (r"r\.wake_at <= a\.now", "(r.state = 'running' OR \\g<0>)"),
        ),
    ),
    Mutant("a claim does not ask what is due", r"runs\.claim", ((r"r\.run_at <= a\.now", "1"),)),
    Mutant(
        "a claim takes a live lease",
        r"runs\.claim",
        ((r"\(\+r\.state = 'ready' OR", "(+r.state = 'running' OR +r.state = 'ready' OR"),),
    ),
    Mutant("a dedupe key is not enforced", schema="DROP INDEX kumofire_runs_dedupe;"),
    Mutant(
        "a lost attempt is not counted",
        r"runs\.sweep",
        ((r"(r\.attempt < r\.max_attempts\)) THEN r\.attempt ELSE", r"\1 THEN r.attempt - 1 ELSE"),),
    ),
    Mutant("a start is not counted", r"runs\.claim", ((r"\(r\.attempt \+ 1\)", "r.attempt"),)),
    Mutant("a lost hint is never sent again", r"runs\.sweep", ((r',"queued"\]', "]"),)),
    Mutant("a create sends, and does not store", patches=((ActorStorage, "batch", _unstored),)),
    Mutant(
        "a schedule's move is not fenced",
        r"jobs\.fire",
        ((r" AND r\.revision = a\.revision AND \(a\.due IS NULL OR r\.next_at = a\.due\)", ""),),
    ),
    Mutant("a retry waits for a day", r"runs\.retry", ((r"a\.next_at", "(a.next_at + 86400000)"),)),
    Mutant("a release counts as an attempt", r"runs\.release", ((r"\(r\.attempt - 1\)", "r.attempt"),)),
    Mutant("a suspect starts beside others", r"runs\.claim", ((r"r\.suspect (= 0|< \d+)\)", "1)"),)),
    Mutant(
        "a prune takes what is not settled",
        r"(runs|bodies)\.prune",
        ((r"state IN \('canceled', 'failed', 'succeeded'\)", "state <> ''"), ("finished_at", "created_at")),
    ),
    Mutant("a refusing queue fails the create", patches=((storing, "send_hints", _refusing),)),
    Mutant("a handler is called twice", patches=((Attempt, "perform", _twice),)),
    Mutant("a consumer does not watch its lease", patches=((ActorStorage, "batch", _endless_lease),)),
    Mutant("a settled run can be canceled", r"runs\.cancel", ((r"\+r\.state = 'ready'", "+r.state <> ''"),)),
    Mutant("a prune forgets the bodies", r"bodies\.prune", ((r"WHERE owner", "WHERE 0 AND owner"),)),
    Mutant("a stale attempt stores its result", r"bodies\.result", ((r" AND claim IS value ->> 2", ""),)),
    Mutant("an effect does not wait for its settle", r"runs\.moved_one", ((r"changes\(\) = \d+", "1"),)),
    Mutant("a run expires early", r"runs\.sweep", ((r"r\.expires_at <= a\.now", "r.expires_at > 0"),)),
    Mutant("a redrive keeps the attempts", r"runs\.redrive", ((r"attempt = 0", "attempt = r.attempt"),)),
    Mutant("all claims carry one token", patches=((claiming, "new_token", lambda _: lambda _: "token"),)),
    Mutant(
        "a retry leaves no history",
        r"runs\.retry",
        ((r"history = (?:(?!history =).)* END(?=, run_at)", "history = r.history"),),
    ),
    Mutant("a sweep has no limit", r"runs\.sweep", ((_LIMIT, ""),)),
    Mutant("a worker claims beyond its lanes", r"runs\.claim", ((_LIMIT, ""),), setting="embedded"),
    Mutant("a worker renews no leases", patches=((Upkeep, "keep_leases", _never),), setting="embedded"),
    Mutant("a worker fires no deadlines", patches=((Upkeep, "_keep_deadlines", _never),), setting="embedded"),
    Mutant(
        "a worker takes suspects with others",
        patches=((pool, "claim_due", _always_alone),),
        setting="embedded",
    ),
    Mutant(
        "a worker ends without settling", patches=((WorkerPool, "drain", _without_drain),), setting="embedded"
    ),
)
