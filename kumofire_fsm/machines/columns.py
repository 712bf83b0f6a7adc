"""What expressions may read of a run: its columns, and the parameters of its events, with what each means.

``make columns`` writes the tables of docs/lifecycles.md from them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kumofire_fsm.machines.operators import Scalar

__all__ = ["COLUMNS", "PARAMETERS", "Column", "Parameter"]


class Column(NamedTuple):
    """A column of a run.

    Attributes:
        default: what a new row holds; a column whose default is not None is never empty.
        doc: what it means.
        text: whether it holds texts; else it holds integers.
        ours: whether the package alone assigns it.
    """

    default: Scalar
    doc: str
    text: bool
    ours: bool


class Parameter(NamedTuple):
    """What comes with an event.

    Attributes:
        default: what it is where an event may give it and does not.
        doc: what it means.
        given: which events give it.
        text: whether it is a text; else it is an integer.
    """

    default: Scalar
    doc: str
    given: str
    text: bool


def _text(doc: str, default: str | None = None, *, ours: bool = False) -> Column:
    return Column(default, doc, True, ours)


def _number(doc: str, default: int | None = None, *, ours: bool = False) -> Column:
    return Column(default, doc, False, ours)


def _text_given(given: str, doc: str, default: str | None = None) -> Parameter:
    return Parameter(default, doc, given, True)


def _number_given(given: str, doc: str, default: int | None = 0) -> Parameter:
    return Parameter(default, doc, given, False)


COLUMNS: Final = {
    "id": _text("the `kumofire_job_run_id`", ours=True),
    "job": _text("the job's name", "", ours=True),
    "machine": _text("the name of the lifecycle", "run", ours=True),
    "state": _text("the state", ours=True),
    "wake_at": _number("when the deadline of the state fires", ours=True),
    "priority": _number("its class: 0 is high, 1 normal, 2 low", 1, ours=True),
    "run_at": _number("the run does not start before this", 0),
    "attempt": _number("attempts that are counted so far", 0),
    "max_attempts": _number("how many may be counted", 1),
    "starts": _number("how often it was started", 0, ours=True),
    "claim": _text("the claim token of the latest start", ours=True),
    "shared": _number("1 if that claim is shared", 0, ours=True),
    "suspect": _number("how many shared losses it had in a row", 0),
    "deliveries": _number("how often its hint was sent again", 0, ours=True),
    "timeout_at": _number("no lease lasts longer than this", ours=True),
    "expires_at": _number("it is cancelled if it did not start before this"),
    "created_at": _number("when it was created", 0, ours=True),
    "started_at": _number("when its latest attempt began"),
    "finished_at": _number("when it settled", ours=True),
    "dedupe": _text("how long it holds its dedupe key: `'forever'` or `'active'`", ours=True),
    "dedupe_key": _text("its dedupe key", ours=True),
    "dedupe_slot": _text("the dedupe key while it is held", ours=True),
    "concurrency_key": _text("of the runs of its job with this key, so many run at once as the job says"),
    "schedule_id": _text("the schedule that created it", ours=True),
    "scheduled_for": _number("the occurrence that it is for", ours=True),
    "payload": _text("the payload as JSON, or empty if it has a row of its own", ours=True),
    "result": _text("the result as JSON, or `''` if it has a row of its own"),
    "error": _text("the text of the latest error"),
    "progress": _text("the latest progress as JSON"),
    "tags": _text("the tags as JSON", ours=True),
    "history": _text("the history as JSON", "[]", ours=True),
    "step": _text(
        "of a [flow's](flows.md) instance: the step; this and what follows is ours, and empty for other runs"
    ),
    "visit": _number("how many steps were entered before"),
    "letters": _number("how many signals were kept so far"),
    "mail": _text("the signals that no wait has taken, as JSON"),
    "letter": _text("the signal that led to the step, as JSON"),
    "keys": _text("the keys of the latest signals, as JSON"),
    "undo": _text("the steps that are done and have an undo, as JSON"),
}
"""The columns of a run, in their order."""
PARAMETERS: Final = {
    "now": _number_given("every event", "the time of the move, in milliseconds since 1970"),
    "facts": _text_given(
        "`start`, endings, and events of people", "the facts of the history's entry, as JSON"
    ),
    "horizon_ms": _number_given(
        "every event but `start`",
        "[`Timing`](reference.md#kumofire): how long before its time a run is put into the queue",
    ),
    "redeliver_ms": _number_given(
        "every event but `start`", "`Timing`: after how long a hint counts as lost"
    ),
    "lost_ms": _number_given(
        "every event but `start`", "`Timing`: how long a run waits after its worker died"
    ),
    "grace_ms": _number_given(
        "every event but `start`", "`Timing`: how long a handler may go on after a cancellation"
    ),
    "ends_at": _number_given(
        "`heartbeat`",
        "when the attempt must have ended, where its holder says so anew because the clock was set; "
        "empty if not",
        None,
    ),
    "hint_ms": _number_given(
        "every event but `start`",
        "a hint goes along with the move, and after so long it counts as lost; empty if none does",
        None,
    ),
    "lease_ms": _number_given("`start`, `heartbeat`", "how long a lease lasts"),
    "timeout_ms": _number_given("`start`", "how long the attempt may last"),
    "token": _text_given("`start`", "the claim token of the new claim"),
    "alone": _number_given("`start`, `hold_back`", "0 if the new claim is shared", 1),
    "full": _number_given("`hold_back`, `admit`", "1 if its concurrency key has no room for it"),
    "turn_at": _number_given(
        "`hold_back`, `admit`",
        "when its concurrency key has allowance for it, where it has none left now",
        None,
    ),
    "next_at": _number_given(
        "`retry`, `snooze`, `release`, `reschedule`, and events that handlers `Fire`",
        "when the run is to go on: the time of a `Retry`, a `Snooze` or the retry policy, the `until` of a "
        "`Fire`, the new time of a `reschedule`; of a `release`, the earliest time, or 0",
    ),
    "value": _text_given(
        "`heartbeat`, `succeed`, `retry`, `fail`, `stop`",
        "what the event carries: the result or progress as JSON, or the text of the error",
    ),
    "step_ms": _number_given(
        "`advance`", "of a flow, like all that follow: how long an attempt at the next step may last"
    ),
    "to_step": _text_given("a step's ending, `redrive`", "the step that is entered", ""),
    "data": _text_given(
        "a step's ending", "the flow's data as JSON, or empty if it has a row of its own", ""
    ),
    "to_undo": _text_given("a step's ending", "what is to be undone from then on", "[]"),
    "tries": _number_given("a step's ending", "how often the step is tried", 1),
    "seen": _number_given("`rest`", "how many signals were kept when the step was claimed"),
    "taken": _number_given("a step's ending", "the number of the kept signal that is taken", None),
    "told": _text_given("a step's ending", "the signal that led to the step, as JSON"),
    "signal_key": _text_given("the flow's signals", "the key of a signal"),
    "rests": _number_given("`rest`", "1 if the wait that is entered has a deadline"),
    "was_visit": _number_given("`advance`", "the visit of the step that is left", None),
}
"""What comes with events."""
