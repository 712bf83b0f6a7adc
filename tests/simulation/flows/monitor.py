"""What must hold of flows after every commit, and in the end; the invariants of runs hold beside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.machines.spec import Actor as Firing
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.values.times import AHEAD_MS
from simulation.attempts import STOPPING
from simulation.flows.declared import ACCEPTS, EDGES, MACHINES, TRIES, UNDONE_BY, renamed
from simulation.flows.lives import DONE, FlowLives
from simulation.flows.story import Story
from simulation.invariants import Monitor
from simulation.moves import RULES, TOLERANCE_MS, check_pruned, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kumofire_fsm.models import Created
    from simulation.actors import Actor
    from simulation.flows.worlds import FlowWorld
    from simulation.lives import HandlerCall
    from simulation.moves import Move

__all__ = ["FlowMonitor"]

TIMEOUT_MS: Final = 20_000
_STEP_ENDS: Final = ("advance", "hand_on", "rest", "succeed", "end_failed", "end_canceled")
"""What a consumer fires when a step is done."""
_ANEW: Final = ("redrive", "lapse", "rest", "retry_undo", "skip_undo", "look_again")
"""What begins to count attempts anew in the same visit of a step."""
_FAILS: Final = ("retry", "fail", "lose")
_SPEC: Final = MACHINES["order@1"]
_CONSUMERS: Final = frozenset(_SPEC.events_by(Firing.CONSUMER)) - {"start", "hold_back", "heartbeat"}


class FlowMonitor(Monitor):
    """Looks at instances, their steps, their data and their mail.

    Attributes:
        stories: what instances have gone through.
    """

    _world: FlowWorld
    lives: FlowLives
    living = FlowLives

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        self.stories: dict[str, Story] = {}
        self._acts: dict[HandlerCall, str] = {}
        self._migrated: set[str] = set()
        self._keyed: dict[tuple[str, str], set[int]] = {}

    # -- commits --------------------------------------------------------------------------------

    def check(self, move: Move) -> str | None:
        """Check how one instance changed; return the event of its history, if that grew."""
        before, after = move.before, move.after
        if after is None:
            check_pruned(move, self.found)
            return None
        machine = MACHINES[after.machine]
        if before is not None:
            self.lives.rows[move.run_id] = before
        follows = before is not None and before.machine != after.machine
        if follows and _SPEC.has_role(before.state, Role.SETTLED):
            self._check_redriven(move)  # and below, as every redrive
        elif follows:
            self._check_migrated(move)
            self._check_data(move, "migrate")
            return "migrate"
        event, at, facts = walk(move, machine, self.found)
        self._check_row(move, event)
        if before is None:
            self._begin(move)
            return event
        self._check_holder(move, event, at)
        if after.visit != before.visit:
            self._check_step(move, event, facts)
        self._check_data(move, event)
        self._check_mail(move, event)
        left = self.stories[move.run_id].stack
        if after.job == "order" and after.state in ("failed", "canceled") and left:
            self.found("undone in reverse order, each once", f"{move}: {left} are left")
        return event

    def _check_row(self, move: Move, event: str | None) -> None:
        after, machine = move.after, MACHINES[move.after.machine]
        state = machine.state(after.state)
        if state is None or state.wakes != (after.wake_at is not None):
            self.found("a deadline until settled", f"{move}: wake_at is {after.wake_at}")
        if not 0 <= after.attempt <= after.max_attempts:
            self.found("attempts within the maximum", f"{move}: {after.attempt} of {after.max_attempts}")
        tries = TRIES.get((after.job, after.step), 3)
        if event == "start" and after.step not in self._waits() and after.max_attempts != tries:
            told = f"{move}: {after.step} is tried {after.max_attempts} times, not {tries}"
            self.found("a step is tried as often as it says", told)

    @staticmethod
    def _waits() -> set[str]:
        return {step for step, _ in ACCEPTS}

    def _begin(self, move: Move) -> None:
        payload = self._world.database.payload(move.after)
        self.stories[move.run_id] = Story(json.loads(payload or "null"))
        if move.after.visit != 0 or ("", move.after.step) not in MACHINES[move.after.machine].steps:
            self.found("the step moves along its edges", f"{move}: it begins at {move.after.step}")

    def _check_holder(self, move: Move, event: str | None, at: int) -> None:
        """Check who moved it, and what that says of leases: as of every run."""
        before, after, lives = move.before, move.after, self.lives
        if event is None:
            leased = _SPEC.has_role(before.state, Role.LEASED)
            if leased and after.wake_at != before.wake_at:
                if lives.owner.get((move.run_id, before.claim)) is not move.actor and not self._world.sets:
                    self.found("the fence", f"{move}: a lease was renewed by another than its holder")
                lives.renewed(move.run_id, after.claim, move.actor, after.wake_at)
            return
        if at > move.actor.latest():
            self.found("history tells the time", f"{move}: {event} says {at}")
        if _SPEC.has_role(before.state, Role.SETTLED) and event != "redrive":
            self.found("settled runs rest", f"{move}: {event}")
        if event in _CONSUMERS:
            self._check_word(move, event)
        elif event in RULES:
            RULES[event](move, at, lives, self.found)
        if event == "start" and after.machine not in move.actor.knows:
            told = f"{move.actor.name} claims {after.machine}, and knows {sorted(move.actor.knows)}"
            self.found("claimed by who knows it", told)
        if event == "advance" and _SPEC.has_role(after.state, Role.LEASED):
            # It says when its step was done; where the clock was set meanwhile, its holder counts on by itself.
            set_ms = move.actor.now() - at if self._world.sets else 0
            lives.renewed(move.run_id, after.claim, move.actor, after.wake_at + set_ms)
            lives.ends[move.run_id, after.claim] = lives.real(move.actor, after.timeout_at + set_ms)
        self._check_attempt(move, event)
        if event == "look_again":
            self._check_looked(move)

    def _check_looked(self, move: Move) -> None:
        """Check that a wait is looked at again where it is, and that somebody looks: nothing else changes."""
        before, after = move.before, move.after
        rests = before.state in ("waiting", "parked") and before.step in self._waits()
        stays = (after.step, after.visit, after.letter) == (before.step, before.visit, before.letter)
        if not (rests and stays and after.state == "ready"):
            told = f"{move}: {before.state} at {before.step} became {after.state} at {after.step}"
            self.found("a wait is looked at again where it is", told)

    def _check_word(self, move: Move, event: str) -> None:
        """Check a consumer's move: its fence, and by what its handler said."""
        before, lives = move.before, self.lives
        if lives.owner.get((move.run_id, before.claim)) is not move.actor:
            self.found("the fence", f"{move}: {event} by another than the holder of its claim")
        elif not (lives.quiet(move.run_id) and event in (*_STEP_ENDS, "release")):
            lives.settled(move.actor, move.run_id, before.claim, event)

    def _check_attempt(self, move: Move, event: str) -> None:
        before, after = move.before, move.after
        goes_on = not _SPEC.has_role(after.state, Role.SETTLED)
        looked_at = event == "lose" and before.step in self._waits() and before.state not in STOPPING
        if not goes_on:
            if looked_at:
                self.found("attempts are counted", f"{move}: nobody was called, and it failed")
            return
        spent = looked_at and before.attempt >= before.max_attempts
        back = event in ("snooze", "release") or (event == "lose" and (before.shared or spent))
        expected = before.attempt + (event == "start") - (back and after.visit == before.visit)
        if after.visit != before.visit or event in _ANEW:
            expected = int(_SPEC.has_role(after.state, Role.LEASED))
        if after.attempt != expected and after.state != "parked":
            self.found("attempts are counted", f"{move}: {event} made {after.attempt} of {before.attempt}")

    def _check_step(self, move: Move, event: str | None, facts: dict[str, Any]) -> None:
        """Check that it moved along an edge, and that the step before was done."""
        before, after = move.before, move.after
        if after.visit != before.visit + 1 or facts.get("step") != after.step:
            self.found("the step moves along its edges", f"{move}: {event} {facts}, visit {after.visit}")
        if event == "redrive":
            return
        edges = EDGES[after.machine]
        events = self._events(move, str(event))
        if not any(after.step in edges.get((before.step, each), ()) for each in events):
            told = f"{move}: {event} from {before.step} to {after.step}"
            self.found("the step moves along its edges", told)
        if event in _STEP_ENDS:
            self._done(move)

    def _events(self, move: Move, event: str) -> Sequence[str]:
        """Return the events of the flow that a move may stand for."""
        before, after = move.before, move.after
        if before.state == "canceling" and not event.startswith("end_") and event != "succeed":
            return ("cancel",)
        if event in _STEP_ENDS:
            if before.step in self._waits():
                return [str(letter[1]) for letter in Story.letters(after.letter)]
            if before.step == "undo_to_undone":
                return ("undo",)
            call = self.lives._under(move.run_id, before.claim)
            return () if call is None or call.outcome is None else (call.outcome,)
        if event in _FAILS:
            return ("fail",)
        return ("cancel",) if event == "stop" else (event,)

    def _done(self, move: Move) -> None:
        """Note that a step is done, whose handler must have returned; and what was undone."""
        before, story = move.before, self.stories[move.run_id]
        call = self.lives._under(move.run_id, before.claim)
        if before.step in self._waits():
            return
        if before.step == "undo_to_undone" and self.lives.quiet(move.run_id):
            del story.stack[-1:]
            return
        if call is None or call.outcome not in DONE:
            self.found("a step returns before the next begins", f"{move}: {before.step} has not returned")
            return
        if before.step == "undo_to_undone":
            del story.stack[-1:]
        elif before.step == "ship":
            story.stack.clear()
        elif before.job == "order" and before.step in UNDONE_BY:
            story.stack.append(before.step)
        story.data = json.loads(call.value or "null")
        match self._acts.get(call):
            case "commit":
                story.effects.append(f"{call.name}:{call.visit}")
            case "spawn":
                story.children.append(f"{move.run_id} {call.name}:{call.visit}")

    def _check_data(self, move: Move, event: str | None) -> None:
        """Check what is stored of the data, and of what is to be undone."""
        story = self.stories[move.run_id]
        stored = self._world.database.payload(move.after)
        if stored is None or json.loads(stored) != story.data:
            told = f"{move}: after {event} it has {stored!r:.300}, not {story.data!r:.300}"
            self.found("the data is what the last step returned", told)
        undo = json.loads(move.after.undo or "[]")
        if undo != story.stack and move.after.step != "undone":
            told = f"{move}: after {event} {undo} are to be undone, not {story.stack}"
            self.found("undone in reverse order, each once", told)

    def _check_mail(self, move: Move, event: str | None) -> None:
        """Check that letters are added one at a time, and go only to a step that takes them."""
        story, after = self.stories[move.run_id], move.after
        was, mail = story.kept, Story.letters(after.mail)
        fresh = [letter for letter in mail if letter not in was]
        gone = [letter for letter in was if letter not in mail]
        if [each for each in mail if each in was] != [each for each in was if each in mail]:
            self.found("no mail is lost", f"{move}: {was} became {mail}")
        told = Story.letters(after.letter)
        entered = after.visit != move.before.visit
        accepted = entered and (move.before.step, event) in ACCEPTS
        if accepted:
            fresh += told  # it moved a wait at once; where a consumer looks at the wait, it is kept
        led = bool(gone) or accepted
        settled = _SPEC.has_role(after.state, Role.SETTLED)
        if entered and event != "redrive" and not settled and led != bool(told):
            self.found("a step knows the signal that led to it", f"{move}: {event} led there, not {told}")
        if gone and (event not in _STEP_ENDS or told != gone or len(gone) > 1):
            self.found("no mail is lost", f"{move}: {gone} went with {event}")
        if gone and (move.before.step, gone[0][1]) not in ACCEPTS:
            self.found("no mail is lost", f"{move}: {gone} went to {move.before.step}, which takes it not")
        if len(fresh) > 1:
            self.found("no mail is lost", f"{move}: {fresh} came at once")
        for _, _, value in fresh:
            if value["nonce"] in story.posted:
                self.found("a signal counts once", f"{move}: {value} counts twice")
            story.posted.append(value["nonce"])
            for (run_id, key), nonces in self._keyed.items():
                if run_id == move.run_id and len(nonces.intersection(story.posted)) > 1:
                    self.found("a signal counts once", f"{move}: {nonces} of the key {key} count twice")
        story.kept = mail
        early = after.visit < 5
        takes = [
            e
            for e in mail
            if (after.step, e[1]) in ACCEPTS and (early or e[1] != "drop" or after.step == "placed")
        ]
        if after.state in ("waiting", "parked") and takes:
            self.found("no mail is lost", f"{move}: it rests at {after.step} with {takes}")

    def _check_migrated(self, move: Move) -> None:
        """Check that a migration renames what rests, and changes nothing else."""
        before, after = move.before, move.after
        self.stories[move.run_id].later()
        self._migrated.add(move.run_id)
        changed = {c for c in before._fields if getattr(before, c) != getattr(after, c)}
        entry = json.loads(after.history)[-1]
        renames = after.step == renamed(before.step) and entry[:2] == ["migrate", before.state]
        known = (before.machine, after.machine) == ("order@1", "order@2")
        if not (renames and known) or changed - {"machine", "claim", "step", "undo", "payload", "history"}:
            told = f"{move}: {before.machine} at {before.step} became {after.step}; {sorted(changed)} changed"
            self.found("a migration renames, and no more", told)
        if not _SPEC.has_role(before.state, Role.LEASED) or before.wake_at <= move.actor.latest():
            return
        begun = json.loads(before.history)[-1][2]
        if min(before.wake_at, begun) <= move.actor.now() + AHEAD_MS - TOLERANCE_MS:
            self.found("a migration leaves what is under way", str(move))

    def _check_redriven(self, move: Move) -> None:
        """Check that what is settled follows the later version from its redrive on."""
        before, after = move.before, move.after
        self.stories[move.run_id].later()
        entry = json.loads(after.history)[-1]
        known = (before.machine, after.machine) == ("order@1", "order@2")
        if not known or entry[0] != "redrive" or entry[-1].get("version") != 2:
            told = f"{move}: {before.machine} became {after.machine} by {entry}"
            self.found("settled runs rest", told)

    # -- beside the database ----------------------------------------------------------------------

    def called(self, ctx: Any, data: Any, name: str) -> HandlerCall:
        """Check a call of a step's handler: of the step that is stored, with the data that is stored."""
        actor, run_id = ctx.env, ctx.run.id
        row, story = self.runs[run_id], self.stories[run_id]
        call = self.lives.called(actor, run_id, TIMEOUT_MS, name, ctx.visit)
        claim = self.lives.held.get((run_id, actor))
        mine = claim == row.claim and _SPEC.has_role(row.state, Role.LEASED)
        if mine and (row.step, row.visit) != (ctx.step, ctx.visit):
            told = f"{actor.name} calls {name} in visit {ctx.visit}; stored is {row.step} in {row.visit}"
            self.found("a step returns before the next begins", told)
        if not mine and (run_id, claim) in self.lives.shortened:
            return call  # nobody tells a consumer that its run was asked to stop before its turn came
        if not mine:
            self.found(
                "called under a lease", f"{actor.name} calls {name} of {run_id}, which it does not hold"
            )
        if ctx.step == "undo_to_undone" and name != f"undo {(story.stack or [''])[-1]}":
            self.found("undone in reverse order, each once", f"{name} is called, left are {story.stack}")
        if data.model_dump() != story.data:
            told = f"{name} of {run_id} gets {data.model_dump()!r:.300}, not {story.data!r:.300}"
            self.found("the data is what the last step returned", told)
        return call

    def hinted(self, actor: Actor, run_id: str, waits: Sequence[int]) -> None:
        """Check a hint; one of an instance whose version its consumers do not know is under way for long."""
        if self._world.deployed is None:
            super().hinted(actor, run_id, waits)
        actor.sent.add(run_id)

    def dropped(self, run_id: str) -> None:
        """Check a message that was delivered too often; to code of another version it may be."""
        if self._world.deployed is None:
            super().dropped(run_id)

    def acted(self, call: HandlerCall, kind: str) -> None:
        """Note what a call did that returned."""
        self._acts[call] = kind

    def created(self, created: Sequence[Created], payloads: Sequence[Any], key: str | None = None) -> None:
        """Check that instances exist whose creation was answered, with their data."""
        super().created(created, payloads, key)
        for each, data in zip(created, payloads, strict=True):
            run = self.runs.get(each.kumofire_job_run_id)
            if run is not None and each.is_new and run.visit == 0 and run.id not in self._migrated:
                stored = self._world.database.payload(run)
                if json.loads(stored or "null") != data.model_dump():
                    self.found("a run keeps its payload", f"{run.id} was created with {stored!r:.300}")

    def keyed(self, run_id: str, key: str | None, nonce: int) -> None:
        """Note that a signal is about to be sent with a key."""
        if key is not None:
            self._keyed.setdefault((run_id, key), set()).add(nonce)

    def signaled(self, run_id: str, nonce: int, key: str | None) -> None:
        """Check a signal that was answered: it moved the instance, or is kept; or one of its key did so."""
        story = self.stories.get(run_id)
        same = {nonce} if key is None else self._keyed[run_id, key]
        if story is not None and not same.intersection(story.posted):
            self.found("no mail is lost", f"the signal {nonce} of {run_id} was answered, and is nowhere")

    def in_need(self) -> list[Any]:
        """Return the instances that nothing moves but a person, or a time that a wrong clock gave."""
        latest = self._world.now + AHEAD_MS
        far = {r.id for r in self.unsettled() if r.wake_at is not None and max(r.wake_at, r.run_at) > latest}
        return [run for run in self.unsettled() if run.state == "parked" or run.id in far]

    def finished(self) -> None:
        """Check the end: all have come to theirs, and what handlers committed is there once."""
        database = self._world.database
        for run in self.unsettled():
            self.found("everything settles", f"{run.id} is still {run.state} at {run.step}")
        if self._world.deployed is None:
            self._check_deliveries()
        self._check_bodies()
        effects = database.effects()
        children = [json.loads(database.payload(run) or "{}")["trail"] for run in self.runs.values()]
        marks = sorted(trail[0] for trail in children if trail and " " in trail[0])
        pruned = len(self.pruned)
        for run_id, story in self.stories.items():
            found = sorted(effects.get(run_id, []))
            if found != sorted(story.effects):
                self.found("effects exactly once", f"{run_id} has the effects {found}, not {story.effects}")
            for mark in story.children:
                if marks.count(mark) != 1 and not pruned:
                    self.found("effects exactly once", f"{mark} created {marks.count(mark)} instances")
        self.after_step()
