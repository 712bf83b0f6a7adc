"""What must hold after every step, and in the end. Each invariant has a name, which a violation carries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.rows import RUNS, SCHEDULES
from kumofire_fsm.values.times import AHEAD_MS
from simulation.controls import Controls
from simulation.lives import Lives
from simulation.moves import SPEC, TOLERANCE_MS, Move, check_move
from simulation.schedules import Schedules
from simulation.waits import Waits

if TYPE_CHECKING:
    from kumofire_fsm.models import Created
    from simulation.actors import Actor
    from simulation.calls import Call
    from simulation.world import World

__all__ = ["Monitor", "Violation"]

DELIVERIES: Final = 2
"""How often a message may come for each start of its run, and before the first, and once more."""


class Violation(AssertionError):
    """An invariant does not hold.

    Attributes:
        invariant: its name.
    """

    def __init__(self, invariant: str, text: str) -> None:
        self.invariant = invariant
        super().__init__(f"{invariant}: {text}")


class Monitor:
    """Looks at the database after every commit, and at what actors do beside it.

    Attributes:
        runs, jobs: the rows as they are.
        pruned: runs that were deleted.
        lives: what is known of attempts.
        schedules: checks jobs and their occurrences.
        controls: checks that paused and limited jobs are.
        moved_by_hand: runs for which another time may count than the one that was asked for first.
        walked: the (event, source, target) of every move so far; the event is None for a self-loop.
    """

    living: type[Lives] = Lives

    def __init__(self, world: World) -> None:
        self._world = world
        self.runs: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self.pruned: set[str] = set()
        self.moved_by_hand: set[str] = set()
        self.lives = self.living(self.found)
        self.controls = Controls(self.found)
        self.schedules = Schedules(world, self.runs, self.found)
        self.waits = Waits(world)
        self.walked: set[tuple[str | None, str | None, str]] = set()
        self._changes = world.database.db.total_changes
        self._violation: Violation | None = None
        self._payloads: dict[str, Any] = {}
        self._said: dict[str, tuple[bool, int | None]] = {}
        """Which jobs are paused, and their limits, as they were said last."""
        self._moved: dict[str, int] = {}
        self._moved_before: dict[str, int] = {}
        self._next_wake: tuple[int, int | None] = -1, None
        """When runs were moved last, and when before that."""

    def check(self, move: Move) -> str | None:
        """Check how one run changed; return the event of its history, if that grew."""
        return check_move(move, self.lives, self.found)

    def found(self, invariant: str, text: str) -> None:
        """Note a violation; the first one ends the history after the step."""
        if self._violation is None:
            self._violation = Violation(invariant, self._world.trace.told(text))

    def after_step(self) -> None:
        """End the history if something is wrong."""
        if self._world.loop.errors:
            self.found("no surprises", self._world.loop.errors[0])
        if self._violation is not None:
            raise self._violation

    # -- commits --------------------------------------------------------------------------------

    def committed(self, call: Call) -> None:
        """Check what a call of an actor changed."""
        actor, what, database = call.actor, call.what, self._world.database
        if database.db.total_changes == self._changes and not database.refused:
            return
        self._changes = database.db.total_changes
        self.waits.check(self.runs.values(), self._said)
        runs = self._changed(database.rows(RUNS), self.runs, database.run_row)
        jobs = self._changed(database.rows(SCHEDULES), self.jobs, database.job_row)
        for run_id, (before, after) in runs.items():
            self._moved_before[run_id], self._moved[run_id] = self._moved.get(run_id, 0), self._world.now
            self._world.trace.name(run_id)
            event = self.check(Move(run_id, before, after, actor, call.decided))
            if after is None:
                self.pruned.add(run_id)
            else:
                self.walked.add((event, before and before.state, after.state))
        for before, after in jobs.values():
            self.schedules.check_job(call, before, after, runs)
        self._said = database.controls()
        self.controls.check(self._said, runs, self.runs)
        self.controls.check_rates(runs)
        self.controls.check_keys(runs, self.runs, call.decided)
        if actor.world.queue is None and "runs.claim" in what:
            self.controls.check_order(self._said, runs, self.runs)
        beside = sum(bool(old and new) and old.state in SPEC.held for old, new in runs.values())
        self._check_limit(actor, what, len(runs) - beside, len(jobs))
        self._check_shared(actor, runs)
        self._check_room(actor, runs)
        if runs:
            self._check_keys()
            self.schedules.check_occurrences(call, runs, jobs)
        if "bodies." in what:
            self._check_bodies()
        for name, text in database.refused:
            if "redrive" not in name and "runs.moved_one" not in name:
                self.found("nothing illegal is tried", f"{name} was refused: {text}")
        database.refused.clear()

    def seen_in(self, answer: Any) -> dict[str, Any]:
        """Return the runs that an answer tells of, as they are now."""
        ids = (row[0] for rows in answer or () for row in rows if row)
        return {run_id: self.runs[run_id] for run_id in ids if run_id in self.runs}

    @staticmethod
    def _changed(rows: dict[str, Any], known: dict[str, Any], make: Any) -> dict[str, tuple[Any, Any]]:
        """Return (before, after) of what changed, and update what is known."""
        changed: dict[str, tuple[Any, Any]] = {}
        for row_id, row in rows.items():
            before = known.get(row_id)
            if before != row:
                known[row_id] = after = make(row)
                changed[row_id] = before, after
        if len(known) > len(rows):
            for row_id in [each for each in known if each not in rows]:
                changed[row_id] = known.pop(row_id), None
        return changed

    def _check_limit(self, actor: Actor, what: str, runs: int, jobs: int) -> None:
        """Check that a statement which looks for work moves no more rows than it may."""
        moved = runs if what == "runs.sweep" else jobs if "schedules.advance" in what else 0
        if actor.limit is not None and moved > actor.limit:
            self.found("a limit is kept", f"{what} of {actor.name} moved {moved} rows of {actor.limit}")

    def _check_room(self, actor: Actor, runs: dict[str, tuple[Any, Any]]) -> None:
        """Check that a worker without a queue claims no more runs than it may have under way."""
        if actor.world.queue is not None or actor.concurrency is None:
            return
        started = [new for old, new in runs.values() if old is not None and new and new.starts > old.starts]
        if len(started) > actor.concurrency:
            self.found("within its concurrency", f"{actor.name} claims {len(started)} runs at once")

    def _check_shared(self, actor: Actor, runs: dict[str, tuple[Any, Any]]) -> None:
        """Check that runs which were claimed together say so: a loss of theirs is nobody's fault."""
        started = [new for old, new in runs.values() if old is not None and new and new.starts > old.starts]
        if len(started) > 1 and not all(run.shared for run in started):
            self.found("a shared claim says so", f"{actor.name} claimed {len(started)} runs, each as alone")

    def _check_keys(self) -> None:
        held: dict[tuple[str, str], str] = {}
        for run in self.runs.values():
            if run.dedupe_key is None:
                continue
            if run.dedupe == "forever" or not SPEC.has_role(run.state, Role.SETTLED):
                other = held.setdefault((run.job, run.dedupe_key), run.id)
                if other != run.id:
                    self.found("one run a key", f"{other} and {run.id} both hold {run.dedupe_key!r}")

    def _check_bodies(self) -> dict[tuple[str, str], str]:
        """Check that each body belongs to a run which says that it stands apart; return all bodies."""
        bodies = {(owner, kind): body for owner, kind, body in self._world.database.bodies()}
        for owner, kind in bodies:
            if owner not in self.runs:
                self.found("no body without its run", f"the {kind} of {owner} was left behind")
            elif getattr(self.runs[owner], kind) != "":
                self.found("no body without its run", f"{owner} has a {kind} apart that is not its own")
        return bodies

    # -- beside the database ----------------------------------------------------------------------

    def created(self, created: Sequence[Created], payloads: Sequence[Any], key: str | None = None) -> None:
        """Check that runs exist whose creation was answered."""
        for each, payload in zip(created, payloads, strict=True):
            run_id = each.kumofire_job_run_id
            if each.is_new:
                self._payloads[run_id] = payload
            run = self.runs.get(run_id)
            if run is None and run_id not in self.pruned:
                self.found("what was answered is stored", f"create gave {run_id}, which does not exist")
            elif run is not None and run.dedupe_key != key:
                self.found(
                    "one run a key", f"create with the key {key!r} gave {run_id} of {run.dedupe_key!r}"
                )

    def handed(self, run_id: str, payload: Any) -> None:
        """Check that a handler is called with the payload that its run was created with."""
        if self._payloads.get(run_id, payload) != payload:
            self.found("a run keeps its payload", f"the handler of {run_id} is called with {payload!r:.99}")

    def as_asked(self, actor: Actor, run_id: str, asked: dict[str, int]) -> None:
        """Check the start behind a handler's call against what the payload says of when it may be."""
        run = self.runs.get(run_id)
        if run is None or run.started_at is None or run_id in self.moved_by_hand or self._world.sets:
            return  # where the clock was set, what was asked for was another time
        at = run.started_at
        if at < asked.get("due", at) - TOLERANCE_MS or asked.get("expires", at) + TOLERANCE_MS < at:
            self.found("started when due", f"{actor.name} calls {run_id}, started at {at}, asked was {asked}")

    def acknowledged(self, actor: Actor, run_id: str) -> None:
        """Check that a message is not needed any more, by what its consumer last saw of the run."""
        run = actor.saw.get(run_id)
        if self.lives.owns(actor, run_id):
            return
        if run is None:
            if run_id in self.runs:
                self.found("messages are kept", f"one for {run_id} was acknowledged without a look at it")
            return
        expired = run.expires_at is not None and run.expires_at <= actor.now()
        if SPEC.has_role(run.state, Role.LEASED) and run.wake_at > actor.now():
            self.found("messages are kept", f"one for {run_id} was acknowledged while its lease holds")
        if not SPEC.has_role(run.state, Role.CLAIMABLE) or expired or run_id in actor.sent:
            return
        if run.job in self.controls.paused or self.controls.used_up(run.job, actor.now()):
            return
        if run.wake_at < actor.now() + TOLERANCE_MS:
            return  # its hint counts as lost: a dispatcher sends another at once
        if any((each.message.run_id, each.disposition) == (run_id, "retry") for each in actor.deliveries):
            return  # a copy of it stays
        if not actor.now() < run.wake_at <= run.run_at:  # else a dispatcher is to send another in time
            self.found("messages are kept", f"one for {run_id} was acknowledged, which waits for a start")

    def hinted(self, actor: Actor, run_id: str, waits: Sequence[int]) -> None:
        """Check a hint that is sent while others for its run are in the queue, due at these times.

        A person may move a run whose hint is under way, and one that is long overdue counts as lost: also one
        that its consumer keeps for long after the run was settled, while others of its batch go on. Where one that
        was lost comes all the same, each may be replaced.
        """
        world = self._world
        held = any((each.message.run_id, each.disposition) == (run_id, None) for each in actor.deliveries)
        replaced = held and run_id not in actor.sent
        actor.sent.add(run_id)
        if replaced or not world.unharmed() or run_id in self.moved_by_hand:
            return
        run = self.runs.get(run_id)
        if run is not None and run.job in self.controls.paused | self.controls.limited:
            return
        if run is not None and run.concurrency_key is not None:
            return  # its message may be acknowledged while it is held, and another is sent
        lost = world.now - world.timing.redeliver_ms + TOLERANCE_MS
        moved_at, run = self._moved_before.get(run_id, 0), self.runs.get(run_id)
        if any(at > lost for at in waits) and (run is None or max(moved_at, run.run_at) > lost):
            self.found("one live hint", f"{actor.name} sends one for {run_id}, whose hint is under way")

    def kept(self, actor: Actor, run_id: str) -> None:
        """Check a message that its consumer gives back: it has not sent another in its place."""
        if run_id in actor.sent and self._world.unharmed() and run_id not in self.moved_by_hand:
            self.found("one live hint", f"{actor.name} keeps one for {run_id}, and has sent another")

    def dropped(self, run_id: str) -> None:
        """Check a message that was delivered too often: where nothing fails, none is."""
        if self._world.unharmed() and run_id not in self.moved_by_hand:
            self.found("deliveries per attempt", f"a message for {run_id} was given up")

    def _check_deliveries(self) -> None:
        """Check that messages do not multiply: what is early or under way is delivered again, a few times.

        Those of a limited job come back as long as others of it are under way.
        """
        queue = self._world.queue
        if queue is None or not self._world.unharmed():
            return
        for run in self.runs.values():
            held = run.history.count('"hold_back"')
            most = DELIVERIES * (run.starts + held + 1) + 1
            if run.job in self.controls.limited:
                continue
            if queue.deliveries[run.id] > most and run.id not in self.moved_by_hand:
                told = f"{run.id} has {queue.deliveries[run.id]} of them for {run.starts} starts"
                self.found("deliveries per attempt", told)

    def unsettled(self) -> list[Any]:
        """Return the runs that still have to settle."""
        return [run for run in self.runs.values() if not SPEC.has_role(run.state, Role.SETTLED)]

    def far_runs(self) -> list[str]:
        """Return the runs that wait for a time which a clock gave that was ahead."""
        latest = self._world.now + AHEAD_MS
        return [
            r.id
            for r in self.unsettled()
            if (SPEC.has_role(r.state, Role.CLAIMABLE) or r.state in SPEC.held)
            and max(r.run_at, r.wake_at) > latest
        ]

    def next_wake(self) -> int | None:
        """Return the earliest deadline of all."""
        if self._next_wake[0] != self._changes:
            waits = [each.wake_at for table in (self.runs, self.jobs) for each in table.values()]
            self._next_wake = self._changes, min((at for at in waits if at is not None), default=None)
        return self._next_wake[1]

    def finished(self) -> None:
        """Check the end: every run settled, with its handler's result, and no body without its run."""
        for run in self.unsettled():
            self.found("everything settles", f"{run.id} is still {run.state} after the faults have stopped")
        for job in self.jobs.values():
            if job.wake_at is not None:
                self.found("everything settles", f"a schedule is still {job.state}, and due at {job.wake_at}")
        self._check_deliveries()
        for run_id, calls in self._world.database.effects().items():
            run = self.runs.get(run_id)
            if run is not None and (run.result != '"commit"' or len(calls) != 1):
                self.found("effects exactly once", f"{run_id} in {run.state} has the effects of {calls}")
        for run in self.runs.values():
            if run.result == '"commit"' and run.id not in self._world.database.effects():
                self.found("effects exactly once", f"{run.id} succeeded without its effect")
        bodies = self._check_bodies()
        for run in self.runs.values():
            if run.payload == "" and (run.id, "payload") not in bodies:
                self.found("no run without its body", f"the payload of {run.id} is gone")
            elif run.id in self._payloads:
                stored = json.loads(bodies[run.id, "payload"] if run.payload == "" else run.payload)
                if stored != self._payloads[run.id]:
                    self.found("a run keeps its payload", f"{run.id} has {stored!r:.99}")
            if any(edge.target == run.state for edge in SPEC.edges_of("succeed")):
                stored = bodies.get((run.id, "result")) if run.result == "" else run.result
                returned = self.lives.returned(run.id, run.claim)
                if stored != json.dumps(returned):
                    self.found("the handler's result", f"{run.id} has {stored!r:.99}, not {returned!r:.99}")
        self.after_step()
