"""Defects of flows put in on purpose; see `simulation.mutants`."""

from __future__ import annotations

import json
from typing import Any

from kumofire_fsm.flows.walk import Next
from kumofire_fsm.store.rows import Moved
from kumofire_fsm.work import flow_attempt
from kumofire_fsm.work.flow_attempt import FlowAttempt
from simulation.mutants import Mutant

__all__ = ["MUTANTS"]


def _unstored(perform: Any) -> Any:
    """Go on with the next step before this one is stored."""

    async def at_once(self: FlowAttempt, *arguments: Any) -> Any:
        ending = await perform(self, *arguments)
        if ending is not None and ending.goes_on and self.run.step in ("reserve", "pack", "charge"):
            run = self.run
            moved = Moved(run.id, run.state, run.run_at, run.job, run.machine, run.wake_at, None, run.starts)
            self.go_on(ending, moved)
            await perform(self, *arguments)
        return ending

    return at_once


def _first(undone_by: Any) -> Any:
    return lambda spec, step, done: undone_by(spec, step, done[:1])


def _kept_on(after_undo: Any) -> Any:
    """Leave on the stack what was undone, while others stand below it."""

    def after(spec: Any, step: str, done: Any) -> Next:
        to: Next = after_undo(spec, step, done)
        return to._replace(done=tuple(done)) if to.done else to

    return after


def _unpushed(after_task: Any) -> Any:
    return lambda spec, step, data, done, event: after_task(spec, step, data, done, event)._replace(
        done=tuple(done)
    )


def _second(after_task: Any) -> Any:
    """Go past the next step."""

    def after(spec: Any, step: str, data: Any, done: Any, event: str) -> Next:
        to: Next = after_task(spec, step, data, done, event)
        return after_task(spec, to.step.id, data, to.done, "done") if to.step.id == "pack" else to

    return after


def _stale(encode: Any) -> Any:
    """Store what the step was given."""

    def succeeded(self: FlowAttempt, value: Any, effects: Any) -> Any:
        return encode(self, None if self.run.step == "charge" else value, effects)

    return succeeded


def _unlooked(letter_for: Any) -> Any:
    return lambda flow, step, row: None if step.id == "approval" else letter_for(flow, step, row)


def _lost_first(letter_for: Any) -> Any:
    """Read only the last letter."""

    def last(flow: Any, step: Any, row: Any) -> Any:
        return letter_for(flow, step, {**row, "mail": json.dumps(json.loads(row["mail"] or "[]")[-1:])})

    return last


_NO_STEP = "DROP TRIGGER kumofire_runs_step;"
_FLOWS = "flows"
_UNDONE = "undone in reverse order, each once"
_DATA = "the data is what the last step returned"
_MAIL = "no mail is lost"
_FAILS = r"runs\.(?:[a-z_]+\+)*(fail|retry)(?:\+[a-z_]+)*"

MUTANTS = (
    Mutant(
        "the next step begins before this one is stored",
        patches=((FlowAttempt, "perform", _unstored),),
        setting=_FLOWS,
        invariant="a step returns before the next begins",
    ),
    Mutant(
        "the first that was done is undone first",
        patches=((flow_attempt, "undone_by", _first),),
        setting=_FLOWS,
        invariant=_UNDONE,
    ),
    Mutant(
        "what was undone is undone again",
        patches=((flow_attempt, "after_undo", _kept_on),),
        setting=_FLOWS,
        invariant=_UNDONE,
    ),
    Mutant(
        "what was done is not noted",
        patches=((flow_attempt, "after_task", _unpushed),),
        setting=_FLOWS,
        invariant=_UNDONE,
    ),
    Mutant(
        "a cancellation forgets the step it met",
        r"runs\.(advance|rest)[a-z_+]*",
        ((r"json_array_length\(m?a?\.?to_undo\) = 0", "json_array_length(r.undo) = 0"),),
        setting=_FLOWS,
        invariant=_UNDONE,
        first=161,
    ),
    Mutant(
        "a step is passed over",
        patches=((flow_attempt, "after_task", _second),),
        setting=_FLOWS,
        invariant="the step moves along its edges",
        schema=_NO_STEP,
    ),
    Mutant(
        "a step is passed over, and the database sees it",
        patches=((flow_attempt, "after_task", _second),),
        setting=_FLOWS,
        invariant="nothing illegal is tried",
    ),
    Mutant(
        "the data of a step is not stored",
        patches=((FlowAttempt, "succeeded", _stale),),
        setting=_FLOWS,
        invariant=_DATA,
    ),
    Mutant(
        "large data of a step is not stored",
        r"bodies\.payload",
        ((r"SET bytes = excluded\.bytes, body = excluded\.body", "SET bytes = bytes"),),
        setting=_FLOWS,
        invariant=_DATA,
    ),
    Mutant(
        "a small row keeps what stood apart",
        r"bodies\.drop",
        ((r"kind = 'payload'", "0"),),
        first=33,
        setting=_FLOWS,
        invariant="no body without its run",
    ),
    Mutant(
        "a wait rests although a signal came",
        r"runs\.[a-z_+]*rest[a-z_+]*",
        ((r"r\.letters > a\.seen", "0"),),
        setting=_FLOWS,
        invariant=_MAIL,
    ),
    Mutant(
        "a step takes the whole mail",
        r"runs\.[a-z_+]*advance[a-z_+]*",
        ((r"k\.value ->> 0 <> m\.taken", "0"),),
        setting=_FLOWS,
        invariant=_MAIL,
    ),
    Mutant(
        "an early signal is not kept",
        r"runs\.(approve|upgrade|pay)",
        ((r"json_insert\(r\.mail, [^\n]*\n", "r.mail\n"),),
        setting=_FLOWS,
        invariant=_MAIL,
    ),
    Mutant(
        "a kept signal is not looked at",
        patches=((flow_attempt, "letter_for", _unlooked),),
        setting=_FLOWS,
        invariant=_MAIL,
    ),
    Mutant(
        "a doubled signal counts twice",
        r"runs\.(approve|upgrade|pay|ship)",
        ((r"EXISTS \(SELECT 1 FROM json_each\(r\.keys\) AS k WHERE k\.value = a\.signal_key\) = 0", "1"),),
        setting=_FLOWS,
        invariant="a signal counts once",
    ),
    Mutant(
        "a step knows another step's signal",
        _FAILS,
        ((r"letter = CASE[\s\S]*?END\n", "letter = r.letter\n"),),
        setting=_FLOWS,
    ),
    Mutant(
        "a move that was stored is stored again",
        r"runs\.[a-z_+]*advance[a-z_+]*",
        ((r"r\.visit = a\.was_visit", "1"),),
        setting="flows-embedded",
        first=6,
    ),
    Mutant(
        "a step has another's attempts",
        r"runs\.(approve|upgrade)",
        ((r"max_attempts = CASE[\s\S]*?END,", "max_attempts = r.max_attempts,"),),
        first=60,
        setting=_FLOWS,
        invariant="a step is tried as often as it says",
    ),
    Mutant(
        "a claim takes any version",
        r"runs\.claim",
        ((r"'order@\d'", "'order@1', 'order@2'"),),
        setting=_FLOWS,
        invariant="claimed by who knows it",
    ),
    Mutant(
        "a migration does not ask whether a row is as it was read",
        r"flows\.migrate",
        (
            (
                r"r\.starts IS a\.was_starts\s+AND r\.visit IS a\.was_visit\s+AND r\.wake_at IS a\.was_wake_at",
                "1",
            ),
            (r"r\.state IS a\.was_state", "1"),
        ),
        first=334,
        setting=_FLOWS,
    ),
    Mutant(
        "a migration takes what is under way",
        r"flows\.old_instances",
        ((r"NOT \(r\.state IN", "NOT (0 AND r.state IN"),),
        first=21,
        setting=_FLOWS,
        invariant="a migration leaves what is under way",
    ),
    Mutant(
        "a migration leaves a dead worker's instance",
        r"flows\.old_instances",
        ((r"AND r\.wake_at > \?1 ->> '\$\.now'", ""),),
        setting=_FLOWS,
        invariant="everything settles",
    ),
    Mutant(
        "a migration keeps old names to undo",
        r"flows\.migrate",
        ((r"undo = a\.to_undo", "undo = r.undo"),),
        setting=_FLOWS,
        invariant=_UNDONE,
    ),
    Mutant(
        "a person's look at a wait enters it anew",
        r"runs\.look_again",
        ((r"attempt = 0", "attempt = 0, visit = r.visit + 1"),),
        setting=_FLOWS,
        invariant="a wait is looked at again where it is",
    ),
    Mutant(
        "a failed undo is done with", _FAILS, (("'parked'", "'failed'"),), setting=_FLOWS, invariant=_UNDONE
    ),
)
