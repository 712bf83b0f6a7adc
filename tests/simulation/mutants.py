"""Proves the prover: defects put into the code on purpose, each of which an invariant must catch.

Most change a statement on its way to the database, or what a port gives back: so they say what the
defect is, and not where in the package somebody might make it. A change that no longer applies fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kumofire_fsm.embedded import _pool as pool
from kumofire_fsm.embedded._ahead import Ahead
from kumofire_fsm.embedded._lease_trust import LeaseTrust
from kumofire_fsm.embedded._left_behind import LeftBehind
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.embedded._upkeep import Upkeep
from kumofire_fsm.engine import due, moves
from kumofire_fsm.engine.timed import Timed
from kumofire_fsm.ports import Statement
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.schedules import _corrections, occurrences
from kumofire_fsm.schedules import changes as schedule_changes
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.work import attempt, consumer, disposition
from kumofire_fsm.work.attempt import Attempt
from simulation.defects import (
    always_alone,
    always_caught_up,
    at_first,
    at_once,
    believed,
    charged,
    effects_anyway,
    endless_lease,
    final,
    heard,
    in_pieces,
    kept,
    mixed_up,
    moved_away,
    never,
    refusing,
    sent_twice,
    settled_inside,
    taken_away,
    trusting,
    twice,
    undelayed,
    undone,
    unlooked,
    unmoved,
    unread,
    unsaid,
    unstored,
    untold,
    without_drain,
)
from simulation.handlers import Applications
from simulation.history import SETTINGS, Result, play
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
        first: the seed to begin with: one that caught it when its search had become long.
        invariant: which one is to catch it; any where none is named.
    """

    name: str
    statements: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    patches: tuple[Patch, ...] = ()
    schema: str = ""
    setting: str = "workers"
    first: int = 0
    invariant: str = ""

    @contextmanager
    def applied(self) -> Iterator[tuple[Database, Applications]]:
        """Give a database in which the statements are changed, and put the patches in place."""
        database, applications = SETTINGS[self.setting].parts()
        if self.schema:
            database.db.executescript(self.schema)
        if self.changes:
            database.rewrite = self._rewrite
        originals = [(where, name, getattr(where, name)) for where, name, _ in self.patches]
        for where, name, change in self.patches:
            setattr(where, name, change(getattr(where, name)))
        try:
            yield database, applications
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
    with mutant.applied() as parts:
        for step in range(seeds):
            seed = (mutant.first + step) % seeds
            result = play(seed, setting=mutant.setting, parts=parts)
            if result.violation is not None:
                return result
    return None


_FIRES = r"runs\.[a-z+]*(succeed|retry|fail|snooze|release|stop|heartbeat)[a-z+]*"
_DROP_TRIGGERS = "DROP TRIGGER kumofire_runs_move; DROP TRIGGER kumofire_runs_wake;"
_NO_LIMIT = (r"\?1 ->> '\$\.limit'", "1000000")
_NO_DEADLINE = (r"\n  wake_at = CASE[^\n]*\n(    .*\n)+  END,", "\n  wake_at = NULL,")

MUTANTS = (
    Mutant(
        "a settle is not fenced", _FIRES, ((r"\s+AND r\.starts = a\.starts\s+AND r\.claim = a\.claim", ""),)
    ),
    Mutant("a live lease's message is acknowledged", patches=((Delivery, "retry", taken_away),)),
    Mutant("settling stands inside the handler's try", patches=((ActorStorage, "batch", settled_inside),)),
    Mutant("occurrences take two statements", patches=((ActorStorage, "batch", in_pieces),)),
    Mutant("a start sets no deadline", r"runs\.claim", (_NO_DEADLINE,)),
    Mutant("a start sets no deadline, no trigger", r"runs\.claim", (_NO_DEADLINE,), schema=_DROP_TRIGGERS),
    Mutant(
        "a sweep ignores leases",
        r"runs\.sweep",
        (
            (r"d\.wake_at <= \?1 ->> '\$\.now'", "(d.state = 'running' OR \\g<0>)"),
            (r"r\.wake_at <= a\.now", "(r.state = 'running' OR \\g<0>)"),
        ),
    ),
    Mutant("a claim does not ask what is due", r"runs\.claim", ((r"r\.run_at <= a\.now", "1"),)),
    Mutant(
        "a claim takes a live lease",
        r"runs\.claim",
        ((r"\(r\.state = 'ready' OR", "(r.state = 'running' OR r.state = 'ready' OR"),),
    ),
    Mutant(
        "a dedupe key is not enforced",
        schema="DROP INDEX kumofire_runs_dedupe; DROP TRIGGER kumofire_runs_repeat; DROP TRIGGER kumofire_runs_slot;",
        first=36,
    ),
    Mutant(
        "a lost attempt is not counted",
        r"runs\.sweep",
        (
            (
                r"(r\.attempt < r\.max_attempts THEN (\d+)\n[\s\S]*\n  attempt = CASE m\.edge .*) ELSE",
                r"\1 WHEN \2 THEN r.attempt - 1 ELSE",
            ),
        ),
    ),
    Mutant("a start is not counted", r"runs\.claim", ((r"r\.attempt \+ 1", "r.attempt"),)),
    Mutant("a lost hint is never sent again", r"runs\.sweep", ((r',\s*\["queued","run"\]\s*\]', "]"),)),
    Mutant("a create sends, and does not store", patches=((ActorStorage, "batch", unstored),)),
    Mutant(
        "a schedule's move is not fenced",
        r"schedules\.advance",
        ((r"\s+AND r\.revision = a\.revision", ""),),
    ),
    Mutant(
        "a row does not tell of its hint",
        r"runs\.(retry|snooze)",
        ((r"[am]\.hint_ms IS NULL", "1"),),
        patches=(
            (disposition, "_hinted", lambda _: lambda _: True),
            (disposition, "_is_lost", lambda _: lambda *_: False),
        ),
        first=305,
    ),
    Mutant("a message does not wait", patches=((Delivery, "retry", at_once),), first=170),
    Mutant("a worn message is sent twice", patches=((consumer, "renewed", sent_twice),), first=105),
    Mutant("a retry waits for a day", r"runs\.retry", ((r"a\.next_at", "(a.next_at + 86400000)"),), first=23),
    Mutant("a last attempt is not the last", r"runs\.retry", ((r"r\.attempt < r\.max_attempts", "1"),)),
    Mutant("a failure is the last", r"runs\.retry", ((r"r\.attempt < r\.max_attempts", "0"),)),
    Mutant("a release counts as an attempt", r"runs\.release", ((r"r\.attempt - 1", "r.attempt"),)),
    Mutant("a suspect starts beside others", r"runs\.claim", ((r"r\.suspect (= 0|< \d+)", "1"),), first=28),
    Mutant(
        "a prune takes what is not settled",
        r"(runs|bodies)\.prune",
        ((r"state IN \('canceled', 'failed', 'succeeded'\)", "state <> ''"), ("finished_at", "created_at")),
    ),
    Mutant("a prune asks when a run was created", r"(runs|bodies)\.prune", (("finished_at", "created_at"),)),
    Mutant("a refusing queue fails the create", patches=((moves, "send_hints", refusing),)),
    Mutant("a handler is called twice", patches=((Attempt, "perform", twice),)),
    Mutant("a consumer does not watch its lease", patches=((ActorStorage, "batch", endless_lease),)),
    Mutant(
        "a settled run can be canceled",
        r"runs\.cancel",
        ((r"r\.state = 'ready'", "r.state <> ''"),),
        first=33,
    ),
    Mutant("a prune forgets the bodies", r"bodies\.prune", ((r"WHERE owner", "WHERE 0 AND owner"),)),
    Mutant(
        "a stale attempt stores its result",
        r"bodies\.result",
        ((r"(?s)r\.claim IS value ->> 2.*?value ->> 5", "1"),),
    ),
    Mutant(
        "an effect does not wait for its settle",
        r"runs\.moved_one",
        ((r"changes\(\) = \d+", "1"),),
        first=492,
    ),
    Mutant("a run expires early", r"runs\.sweep", ((r"r\.expires_at <= a\.now", "r.expires_at > 0"),)),
    Mutant("a redrive keeps the attempts", r"runs\.redrive", ((r"attempt = 0", "attempt = r.attempt"),)),
    Mutant(
        "a redrive keeps the expiry",
        r"runs\.redrive",
        ((r"expires_at = NULL", "expires_at = r.expires_at"),),
        first=95,
    ),
    Mutant("a success keeps the error", r"runs\.succeed", ((r"error = NULL", "error = r.error"),)),
    Mutant(
        "a retry keeps the suspicion",
        r"runs\.retry",
        ((r"(suspect = CASE[\s\S]*?THEN) 0", r"\1 r.suspect"),),
        first=45,
    ),
    Mutant("every loss is in company", r"runs\.sweep", ((r"r\.shared = 1", "1"),)),
    Mutant("all claims carry one token", patches=((due, "new_token", lambda _: lambda _: "token"),)),
    Mutant(
        "a retry leaves no history",
        r"runs\.retry",
        ((r"\n  history = .*\n(    .*\n)+  (END|\))\n", "\n  history = r.history\n"),),
    ),
    Mutant(
        "an overlap is not looked at",
        r"schedules\.due",
        ((r"THEN \(\s+SELECT json_group_array[\s\S]* END AS latest", "THEN NULL END AS latest"),),
    ),
    Mutant(
        "what is passed over is not counted",
        r"schedules\.advance",
        ((r"r\.skipped \+ m\.passed", "r.skipped"),),
    ),
    Mutant("a message is acknowledged unread", patches=((consumer, "read_runs", unread),)),
    Mutant("the first error is final", patches=((Attempt, "failed", final),)),
    Mutant("a loss in company is not noted", r"runs\.sweep", ((r"r\.suspect \+ 1", "r.suspect"),)),
    Mutant("no claim says that it is shared", r"runs\.claim", ((r"1 - m\.alone", "0"),)),
    Mutant("no recurring job is found due", r"schedules\.due", ((r"WHERE ", "WHERE 0 AND "),)),
    Mutant("a sweep has no limit", r"runs\.sweep", (_NO_LIMIT,)),
    Mutant("a worker claims beyond its concurrency", r"runs\.claim", (_NO_LIMIT,), setting="embedded"),
    Mutant("a worker renews no leases", patches=((Upkeep, "keep_leases", never),), setting="embedded"),
    Mutant("a worker fires no deadlines", patches=((Upkeep, "_keep_deadlines", never),), setting="embedded"),
    Mutant(
        "a worker takes suspects with others",
        patches=((pool, "claim_due", always_alone),),
        setting="embedded",
    ),
    Mutant("a batch is claimed as if alone", patches=((consumer, "claim_hinted", always_alone),)),
    Mutant("a paused job starts", r"runs\.claim", ((r"c\.paused_at IS NULL", "1"),)),
    Mutant(
        "a paused job starts in a worker",
        r"runs\.claim",
        ((r"c\.paused_at IS NULL", "1"),),
        setting="embedded",
    ),
    Mutant("leased runs take no slots", r"runs\.claim", ((r"most - \(", "most - 0 * ("),), first=56),
    Mutant(
        "leased runs take no slots of a worker",
        r"runs\.claim",
        ((r"most - \(", "most - 0 * ("),),
        setting="embedded",
    ),
    Mutant(
        "a batch starts all where one slot is free",
        r"runs\.claim",
        ((r"place <= free", "free > 0"),),
        first=40,
    ),
    Mutant(
        "each state of a job has slots of its own",
        r"runs\.claim",
        ((r"nth <= free", "1"),),
        setting="embedded",
    ),
    Mutant(
        "a run that is cancelled frees its slot",
        r"runs\.claim",
        ((r'\["canceling","running"\]', '["running"]'),),
        first=115,
    ),
    Mutant(
        "a claim looks at no priority",
        r"runs\.claim",
        ((r"ORDER BY level, place, turn, job, priority, wake_at", "ORDER BY place, turn, job, wake_at"),),
        setting="embedded",
        first=11,
    ),
    Mutant("a key has a place too many", r"runs\.claim", ((r"t\.nth > s\.room", "t.nth > s.room + 1"),)),
    Mutant(
        "leased runs of a key do not count in a worker",
        r"runs\.claim",
        ((r"key = t\.job\) - \(", "key = t.job) - 0 * ("),),
        setting="embedded",
        first=10,
    ),
    Mutant(
        "a run is held while its key has room", r"runs\.claim", ((r"t\.nth > s\.room", "t.nth >= s.room"),)
    ),
    Mutant("an ending admits nobody", r"runs\.admit", ((r"WHERE places > 0", "WHERE 0"),)),
    Mutant(
        "a lost lease admits nobody", r"runs\.sweep", ((r"places > 0 AND id IS NOT NULL", "0"),), first=29
    ),
    Mutant("a start takes nothing of its allowance", r"paces\.take", ((r"\+ k\.number \*", "+ 0 *"),)),
    Mutant(
        "a worker asks for no rate",
        r"runs\.claim",
        ((r"coalesce\(p\.paced, ", "coalesce(NULL, "),),
        setting="embedded",
    ),
    Mutant(
        "a batch asks for no rate", r"runs\.claim", ((r"coalesce\(paced, ", "coalesce(NULL, "),), first=40
    ),
    Mutant(
        "a start takes nothing of its key's allowance",
        r"paces\.take",
        ((r"\(NOT j\.value ->> 1 OR d\.concurrency_key IS NOT NULL\)", "NOT j.value ->> 1"),),
    ),
    Mutant("a claim asks for no rate of a key", r"runs\.claim", ((r"y\.key IS NOT NULL", "0"),)),
    Mutant(
        "a run is held while its key has an allowance",
        r"runs\.claim",
        ((r"t\.nth > s\.room", "(t.nth > s.room OR s.every > 0)"),),
    ),
    Mutant("a held run is told no turn", r"runs\.claim", ((r"END AS turn_at", "END * NULL AS turn_at"),)),
    Mutant(
        "a handler is not told that it is canceled",
        patches=((Attempt, "seen", untold),),
        setting="embedded",
    ),
    Mutant(
        "a shutdown costs an attempt", patches=((Attempt, "_stopped", charged),), setting="embedded", first=7
    ),
    Mutant("a failure commits its effects", patches=((Attempt, "ending", effects_anyway),)),
    Mutant("a snooze is not waited for", r"runs\.snooze", ((r"a\.next_at", "a.now"),)),
    Mutant("a delay is not waited for", patches=((RowMaker, "due", undelayed),)),
    Mutant("bodies are mixed up", patches=((RunStatements, "insert_bodies", mixed_up),)),
    Mutant(
        "payloads that are read later are mixed up",
        r"bodies\.read",
        ((r"b\.body AS body", "max(b.body) OVER () AS body"),),
        first=57,
    ),
    Mutant(
        "a payload that is read later is taken for lost", r"runs\.claim", ((r"b\.body, ''", "b.body, NULL"),)
    ),
    Mutant("all that was missed runs", patches=((occurrences, "decide", always_caught_up),)),
    Mutant(
        "a change moves what is due",
        patches=((schedule_changes, "_keeps_its_recurrence", moved_away),),
        first=24,
    ),
    Mutant(
        "a sweep after a standstill takes every lease",
        patches=((LeaseTrust, "__call__", trusting),),
        setting="embedded",
        first=13,
    ),
    Mutant(
        "a write has the time of its queueing", patches=((Timed, "__call__", at_first),), setting="embedded"
    ),
    Mutant(
        "a jump of the clock is not seen",
        patches=((LeaseTrust, "__init__", unmoved),),
        setting="embedded",
        first=84,
    ),
    Mutant(
        "nobody looks at what lies ahead",
        patches=((Ahead, "is_due", unlooked),),
        setting="embedded",
        first=56,
    ),
    Mutant(
        "a lease stays as long as it is",
        patches=((Ahead, "_cut_leases", undone),),
        setting="embedded",
        first=20,
    ),
    Mutant(
        "a schedule believes any clock",
        patches=((_corrections, "agreed", believed),),
        setting="embedded",
        first=55,
    ),
    Mutant(
        "an attempt's end stays where the clock was",
        patches=((Attempt, "renewal", unsaid),),
        setting="embedded",
        first=58,
    ),
    Mutant(
        "a request to cancel reaches the next handler",
        patches=((attempt, "calm", undone),),
        setting="embedded",
        first=6,
    ),
    Mutant(
        "a handler that goes on keeps its slot",
        patches=((LeftBehind, "add", kept),),
        setting="embedded",
    ),
    Mutant(
        "a handler that ignores its timeout is waited for",
        patches=((LeftBehind, "stopped", heard),),
        setting="embedded",
    ),
    Mutant(
        "a worker ends without settling",
        patches=((WorkerPool, "drain", without_drain),),
        setting="embedded",
        first=12,
    ),
)
