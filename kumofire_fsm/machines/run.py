"""The lifecycle of a run: one execution of a job."""

from __future__ import annotations

from kumofire_fsm.machines._declarations import Deadline, Event, State
from kumofire_fsm.machines.columns import COLUMNS, PARAMETERS
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.spec import Actor, Outcome, Role

__all__ = ["HANDED_BACK", "SUSPECT", "RunMachine"]

LOOK_MS = 300_000
"""After how long a held run looks for room by itself, at first: something else than an end made it."""
SUSPECT = 2
"""A run that lost so many shared leases in a row starts alone: one loss is an ordinary kill."""

_DUE = "run_at <= now and (expires_at is None or now < expires_at)"
_START = f"{_DUE} and (suspect < {SUSPECT} or alone == 1)"
_FULL = f"{_START} and full == 1"
_LEFT = "attempt < max_attempts"
_OPEN = {"timeout_at": "None"}
_SETTLED = {
    "timeout_at": "None",
    "finished_at": "now",
    "dedupe_slot": "when(dedupe == 'active', None, dedupe_slot)",
}
HANDED_BACK = {"attempt": "attempt - 1", "suspect": "0"}
"""For edges that end an attempt without a failure: the attempt does not count."""
_LEASE = "least(now + lease_ms, timeout_at)"
_ENDS = "when(ends_at is None, timeout_at, ends_at)"
"""When an attempt must have ended; its holder says it anew where somebody has set the clock."""
_GRACE = "least(timeout_at, now + grace_ms)"
_HINT = "when(hint_ms is None or now + horizon_ms < run_at, 0 - horizon_ms, hint_ms)"
_NEXT_TRY = f"least(greatest(now, run_at) + {_HINT}, expires_at)"
"""A dispatcher sends a hint shortly before the time; where one goes along with the move, only once that
seems lost. So there is one hint at a time."""
_LEASE_OVER = "the lease ran out: the worker died, or was too slow to renew it"
_GRACE_OVER = "canceled while it ran: its handler had not ended in its grace period, or its worker died"
_TURN = f"when(turn_at is None, now + {LOOK_MS}, greatest(now, turn_at - horizon_ms))"
_NEXT_TRY_DOC = "shortly before its time, or once the hint that went along seems lost"


class RunMachine(Lifecycle, table="kumofire_runs", machine="run"):
    """A run is created ready, waits for its time and a consumer, is leased, and settles.

    Only the holder of a run's lease moves it out of a leased state, except for deadlines and a
    cancellation; both are fenced off by ``starts`` and ``claim``, which each start renews.
    """

    fields = {name: column.default for name, column in COLUMNS.items()}
    parameters = {name: given.default for name, given in PARAMETERS.items()}
    texts = {name for name in COLUMNS if COLUMNS[name].text} | {
        name for name in PARAMETERS if PARAMETERS[name].text
    }
    role_sets = {
        Role.CLAIMABLE: _OPEN,
        Role.WAITING: {**_OPEN, "finished_at": "None"},
        Role.SETTLED: _SETTLED,
    }

    ready = State(
        "Stored, waiting for its time; a dispatcher moves it into the queue when that is near.",
        role=Role.CLAIMABLE,
        initial=True,
        deadline=Deadline(_NEXT_TRY, "expire", "enqueue", doc=_NEXT_TRY_DOC),
    )
    queued = State(
        "A hint is on its way; whichever consumer reads it first starts the run.",
        role=Role.CLAIMABLE,
        deadline=Deadline(
            "least(greatest(now, run_at) + redeliver_ms, expires_at)",
            "expire",
            "redeliver",
            doc="the hint seems lost",
        ),
    )
    running = State(
        "A consumer owns it and calls its handler; the lease is renewed, never past the timeout.",
        role=Role.LEASED,
        deadline=Deadline(_LEASE, "lose", doc="the lease ends"),
    )
    retrying = State(
        "An attempt failed or was lost, and another will follow when its backoff is over.",
        role=Role.CLAIMABLE,
        deadline=Deadline(_NEXT_TRY, "expire", "enqueue", doc=_NEXT_TRY_DOC),
    )
    held = State(
        "Its concurrency key has as many runs under way as it may until one ends, or has used up its rate.",
        role=Role.WAITING,
        deadline=Deadline(
            f"least({_TURN}, expires_at)", "expire", "admit", doc="its turn, or it looks for room by itself"
        ),
    )
    canceling = State(
        "Somebody asked for it to stop while it ran; the handler is told, and has a grace period.",
        role=Role.LEASED,
        deadline=Deadline(_LEASE, "lose", doc="the lease ends"),
    )
    succeeded = State(
        "The handler returned and its result is stored.",
        role=Role.SETTLED,
        outcome=Outcome.SUCCESS,
    )
    failed = State(
        "The attempts are spent, or the handler or its policy said never to retry.",
        role=Role.SETTLED,
        outcome=Outcome.FAILURE,
    )
    canceled = State(
        "Somebody stopped it, it stopped itself, or it expired before it could start.",
        role=Role.SETTLED,
        outcome=Outcome.CANCELLATION,
    )

    enqueue = Event(
        ready.to(queued) | retrying.to(queued),
        by=Actor.DISPATCHER,
        hints=True,
        sets={"deliveries": "0"},
        doc="Its time is near: a hint is sent to the queue.",
    )
    redeliver = Event(
        queued.to.itself(),
        by=Actor.DEADLINE,
        hints=True,
        sets={
            "deliveries": "deliveries + 1",
            "wake_at": "least(now + redeliver_ms * (1 << least(deliveries + 1, 5)), expires_at)",
        },
        doc="The hint seems lost: another is sent, each later than the one before.",
    )
    nudge = Event(
        queued.to.itself(
            sets={
                "deliveries": "greatest(deliveries - 1, 0)",  # what was refused was no delivery
                "wake_at": "least(greatest(now, run_at) + lost_ms, expires_at)",
            }
        )
        | ready.to.itself()
        | retrying.to.itself(),
        by=Actor.DISPATCHER,
        doc="The queue refused the hint: send it again soon.",
    )
    start = Event(
        ready.to(running, cond=_START) | queued.to(running, cond=_START) | retrying.to(running, cond=_START),
        by=Actor.CONSUMER,
        sets={
            "attempt": "attempt + 1",
            "starts": "starts + 1",
            "claim": "token",
            "shared": "1 - alone",
            "started_at": "now",
            "timeout_at": "now + timeout_ms",
        },
        doc="A consumer claims it: a fresh claim and a lease, and one attempt more.",
    )
    hold_back = Event(
        ready.to(held, cond=_FULL) | queued.to(held, cond=_FULL) | retrying.to(held, cond=_FULL),
        by=Actor.CONSUMER,
        sets={"deliveries": "0", "run_at": "when(turn_at is None, run_at, turn_at)"},
        doc="A consumer finds its concurrency key full, or its rate used up, and spends no attempt of it.",
    )
    admit = Event(
        held.to(queued, cond="full == 0", sets={"deliveries": "0"})
        | held.to.itself(
            sets={
                "deliveries": "deliveries + 1",
                "wake_at": f"least(now + {LOOK_MS} * (1 << least(deliveries + 1, 3)), expires_at)",
            }
        ),
        by=Actor.DEADLINE,
        doc="Another run of its key has ended, or its turn has come. Or it looks by itself, each time later.",
    )
    heartbeat = Event(
        running.to.itself(sets={"timeout_at": _ENDS, "wake_at": f"least(now + lease_ms, {_ENDS})"})
        | canceling.to.itself(),
        by=Actor.CONSUMER,
        sets={"progress": "when(value is None, progress, value)"},
        doc="The attempt is alive: its lease is renewed, within its timeout; it learns of a cancellation.",
    )
    succeed = Event(
        running.to(succeeded) | canceling.to(succeeded),
        by=Actor.CONSUMER,
        sets={"result": "value", "error": "None", "suspect": "0"},
        doc="The handler returned.",
    )
    retry = Event(
        running.to(retrying, cond=_LEFT, sets={"run_at": "next_at", "suspect": "0"})
        | running.to(failed)
        | canceling.to(canceled),
        by=Actor.CONSUMER,
        sets={"error": "value"},
        doc="The handler failed: it is called again while attempts are left.",
    )
    fail = Event(
        running.to(failed) | canceling.to(canceled),
        by=Actor.CONSUMER,
        sets={"error": "value"},
        doc="The handler failed, and it or its retry policy said never to try again.",
    )
    snooze = Event(
        running.to(ready, sets={"run_at": "next_at", **HANDED_BACK}) | canceling.to(canceled),
        by=Actor.CONSUMER,
        doc="The handler asked to be called later; the attempt is given back.",
    )
    release = Event(
        # Not having begun proves nothing of a suspect run.
        running.to(
            queued,
            sets={"run_at": "greatest(run_at, next_at)", "attempt": "attempt - 1", "deliveries": "0"},
        )
        | canceling.to(canceled),
        by=Actor.CONSUMER,
        doc="The consumer gives it back unfinished: not begun, or shutting down.",
    )
    stop = Event(
        running.to(canceled) | canceling.to(canceled),
        by=Actor.CONSUMER,
        sets={"error": "value"},
        doc="The handler stopped itself, or answered a cancellation.",
    )
    lose = Event(
        running.to(
            retrying,
            cond="shared == 1",
            sets={"attempt": "attempt - 1", "suspect": "suspect + 1", "run_at": "now"},
        )
        | running.to(
            retrying,
            cond=_LEFT,
            sets={"run_at": "now + lost_ms * (1 << least(attempt, 10))"},
        )
        | running.to(failed)
        | canceling.to(canceled),
        by=Actor.DEADLINE,
        sets={
            "claim": "None",
            "error": f"when(state == 'canceling', '{_GRACE_OVER}', '{_LEASE_OVER}')",
        },
        doc="The lease ran out: its consumer died or stalled.",
    )
    expire = Event(
        ready.to(canceled, cond="expires_at <= now")
        | queued.to(canceled, cond="expires_at <= now")
        | retrying.to(canceled, cond="expires_at <= now")
        | held.to(canceled, cond="expires_at <= now"),
        by=Actor.DEADLINE,
        sets={"error": "'expired before it could start'"},
        doc="It was not to start after expires_at.",
    )
    cancel = Event(
        ready.to(canceled)
        | queued.to(canceled)
        | retrying.to(canceled)
        | held.to(canceled)
        # The timeout shrinks to the grace period; the lease runs on, so a dead worker shows as before.
        | running.to(canceling, sets={"timeout_at": _GRACE, "wake_at": f"least(wake_at, {_GRACE})"}),
        doc="Somebody wants it to stop.",
    )
    reschedule = Event(
        ready.to.itself() | queued.to(ready) | retrying.to.itself() | held.to(ready),
        sets={"run_at": "next_at"},
        doc="Somebody wants it at another time.",
    )
    redrive = Event(
        failed.to(ready) | canceled.to(ready),
        sets={
            "run_at": "now",
            "attempt": "0",
            "suspect": "0",
            "expires_at": "None",
            "finished_at": "None",
            "started_at": "None",
            "result": "None",
            "error": "None",
            "progress": "None",
            "dedupe_slot": "dedupe_key",
        },
        doc="Somebody wants it to run again: fresh attempts, the same id.",
    )
