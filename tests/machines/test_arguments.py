"""What states, edges, events and deadlines are given: a mistake is told by a DefinitionError, and what to write."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from statemachine import Event as PlainEvent

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Deadline, Event, Role, RunMachine, State

READY, CANCELED = RunMachine.ready, RunMachine.canceled
NOTHING = (
    "a move in the database calls nothing: register a hook with app.on(...), or, for driving by hand, name a "
    "method on_enter_<state>, after_<event>, ..."
)

TIME = (
    "a time is a timedelta, such as timedelta(days=3), or an expression, such as "
    '"created_at + 60000" (in milliseconds)'
)


def waiting():
    return State("Waits.", role=Role.WAITING, waits=True)


WRONG = [
    (lambda: State("Waits."), "State: missing a required argument: 'role'"),
    (lambda: State("Waits.", Role.WAITING), "State: too many positional arguments"),
    (lambda: State("Waits.", role="waitin"), "State('Waits.'): no Role 'waitin' (did you mean 'waiting'?); there are claimable, leased, waiting, settled"),
    (lambda: State("Waits.", role=None), "State('Waits.'): no Role None; there are claimable, leased, waiting, settled"),
    (lambda: State("Done.", role=Role.SETTLED, outcome="succes"), "State('Done.'): no Outcome 'succes' (did you mean 'success'?); there are success, failure, cancellation"),
    (lambda: State("Done.", role=Role.SETTLED, final=True), "State: got an unexpected keyword argument 'final'; say role=Role.SETTLED"),
    (lambda: State("Waits.", role=Role.WAITING, inital=True), "State: got an unexpected keyword argument 'inital' (did you mean 'initial'?)"),
    (lambda: State("Waits.", role=Role.WAITING, enter="go"), f"State: got an unexpected keyword argument 'enter'; {NOTHING}"),
    (lambda: State("Waits.", role=Role.WAITING, value="w"), "State: got an unexpected keyword argument 'value'; it is stored as the attribute is called"),
    (lambda: State("Waits.", role=Role.WAITING, initial="yes"), "State('Waits.'): initial must be True or False; found 'yes'"),
    (lambda: State("Waits.", role=Role.WAITING, waits=1), "State('Waits.'): waits must be True or False; found 1"),
    (lambda: State("Waits.", role=Role.WAITING, retired="now"), "State('Waits.'): retired must be True or False; found 'now'"),
    (lambda: State(5, role=Role.WAITING), "State(5): doc must be a text; found 5"),
    (lambda: State("W.", role=Role.WAITING, deadline="now + 1"), "State('W.'): deadline must be Deadline; found 'now + 1'"),
    (lambda: State("W.", role=Role.WAITING, deadline=timedelta(1)), "State('W.'): deadline must be Deadline; found datetime.timedelta(days=1)"),
    (lambda: State("W.", role=Role.WAITING, sets="attempt"), 'State(\'W.\'): sets must be a mapping such as {"attempt": "attempt + 1"}; found \'attempt\''),
    (lambda: State("W.", role=Role.WAITING, sets={"attempt": 0}), "State('W.'): an expression is a text, such as \"0\" (in milliseconds); found 0"),
    (lambda: State("W.", role=Role.WAITING, sets={"error": None}), "State('W.'): an expression is a text, such as \"None\" (in milliseconds); found None"),
    (lambda: State("W.", role=Role.WAITING, sets={1: "0"}), "State('W.'): a column must be a text; found 1"),
    (lambda: Deadline(60_000, "lapse"), f"Deadline(60000): {TIME}; found 60000"),
    (lambda: Deadline(1.5, "lapse"), f"Deadline(1.5): {TIME}; found 1.5"),
    (lambda: Deadline(), f"Deadline(None): {TIME}; found None"),
    (lambda: Deadline(timedelta(0), "lapse"), 'Deadline(datetime.timedelta(0)): a duration must be at least 1 ms; found datetime.timedelta(0); the time "now" is due at once'),
    (lambda: Deadline("lapse", after=timedelta(days=-1)), "Deadline(after=datetime.timedelta(days=-1)): a duration must be at least 1 ms; found datetime.timedelta(days=-1)"),
    (lambda: Deadline("lapse", after="60"), "Deadline(after='60'): a duration must be a timedelta or seconds; found '60'"),
    (lambda: Deadline("lapse", after=True), "Deadline(after=True): a duration must be a timedelta or seconds; found True"),
    (lambda: Deadline("lapse", after=float("nan")), "Deadline(after=nan): a duration must be finite; found nan"),
    (lambda: Deadline("lapse", after=timedelta.max), f"Deadline(after={timedelta.max!r:.60}): a duration is longer than 1,000 years: {timedelta.max!r}"),
    (lambda: Deadline("now + 5", "lapse", after=60), "Deadline(after=60): it has a time already, and 'now + 5' is no event's name"),
    (lambda: Deadline(timedelta(1), "lapse", after=60), "Deadline(after=60): name its events, as texts; found datetime.timedelta(days=1)"),
    (lambda: Deadline("now", RunMachine.cancel), "Deadline('now'): name its events, as texts; found Event('cancel', delay=0, internal=False)"),
    (lambda: Deadline("now", 5), "Deadline('now'): name its events, as texts; found 5"),
    (lambda: Deadline("now", "lapse", doc=None), "Deadline('now'): doc must be a text; found None"),
    (lambda: Deadline("now", "lapse", dco="x"), "Deadline: got an unexpected keyword argument 'dco' (did you mean 'doc'?)"),
    (lambda: waiting().to("ready"), "state.to('ready'): give the state itself, such as RunMachine.ready"),
    (lambda: waiting().to(READY, "canceled"), "state.to('canceled'): give the state itself, such as RunMachine.canceled"),
    (lambda: waiting().to(RunMachine), "state.to(<class 'kumofire_fsm.machines.run.RunMachine'>): give the state itself"),
    (lambda: waiting().to(None), "state.to(None): give the state itself"),
    (lambda: waiting().to(), "state.to() needs a state to lead to; a self-loop is state.to.itself()"),
    (lambda: waiting().to(READY, unless="attempt > 1"), "state.to(...): got an unexpected keyword argument 'unless'; write the opposite: cond=\"not (...)\""),
    (lambda: waiting().to(READY, on="told"), f"state.to(...): got an unexpected keyword argument 'on'; {NOTHING}"),
    (lambda: waiting().to(READY, validators="told"), f"state.to(...): got an unexpected keyword argument 'validators'; {NOTHING}"),
    (lambda: waiting().to(READY, event="go"), "state.to(...): got an unexpected keyword argument 'event'; give the edges to an Event"),
    (lambda: waiting().to(READY, guard="attempt > 1"), "state.to(...): got an unexpected keyword argument 'guard'"),
    (lambda: waiting().to(READY, set={"attempt": "1"}), "state.to(...): got an unexpected keyword argument 'set' (did you mean 'sets'?)"),
    (lambda: waiting().to(READY, sets={"attempt": 1}), 'edge ? -> ready: an expression is a text, such as "1" (in milliseconds); found 1'),
    (lambda: waiting().to.itself(internal=True), "state.to.itself(...): got an unexpected keyword argument 'internal'; a self-loop, state.to.itself(), does not enter its state again"),
    (lambda: waiting().to.itself(READY), "state.to.itself(...): too many positional arguments"),
    (lambda: Event(waiting().to(READY), by="persn"), "Event(''): no Actor 'persn' (did you mean 'person'?); there are person, dispatcher, consumer, deadline"),
    (lambda: Event(waiting().to(READY), by=None), "Event(''): no Actor None; there are person, dispatcher, consumer, deadline"),
    (lambda: Event(waiting().to(READY), hints="yes"), "Event(''): hints must be True or False; found 'yes'"),
    (lambda: Event(waiting().to(READY), waiting().to(CANCELED)), "Event: too many positional arguments"),
    (lambda: Event(waiting().to(READY), id="go"), "Event: got an unexpected keyword argument 'id'; it is called as the attribute is"),
    (lambda: Event(waiting().to(READY), name="Go"), "Event: got an unexpected keyword argument 'name'; it is called as the attribute is"),
    (lambda: Event(waiting().to(READY), delay=5), "Event: got an unexpected keyword argument 'delay'"),
    (lambda: Event(waiting().to(READY), after="told"), f"Event: got an unexpected keyword argument 'after'; {NOTHING}"),
    (lambda: Event(waiting().to(READY), sets=["attempt"]), 'Event(\'\'): sets must be a mapping such as {"attempt": "attempt + 1"}; found [\'attempt\']'),
    (lambda: Event("go"), "edges are made by source.to(target), and joined by |; found 'go'"),
    (lambda: Event(READY), f"edges are made by source.to(target), and joined by |; found {READY!r:.80}"),
    (lambda: Event(["go"]), "edges are made by source.to(target), and joined by |; found ['go']"),
    (lambda: Event(None), "edges are made by source.to(target), and joined by |; found None"),
    (lambda: waiting().to(READY) | "go", "edges are made by source.to(target), and joined by |; found 'go'"),
    (lambda: waiting().to(READY) | READY, f"edges are made by source.to(target), and joined by |; found {READY!r:.80}"),
    (lambda: RunMachine.cancel | READY, f"edges are made by source.to(target), and joined by |; found {READY!r:.80}"),
    (lambda: RunMachine.cancel | None, "edges are made by source.to(target), and joined by |; found None"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_mistake_is_told_with_what_to_write(make, message):
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        make()


def test_a_plain_event_may_be_joined():
    """It brings its edges; the event that takes them says the rest."""
    plain = PlainEvent(waiting().to(READY), id="plain")
    assert len(waiting().to(READY) | plain) == 2


def test_roles_actors_and_outcomes_may_be_named_by_texts():
    assert State("Done.", role="settled", outcome="success").role is Role.SETTLED
    assert Event(waiting().to(READY), by="consumer").by == "consumer"


def test_a_deadline_s_duration_counts_from_when_its_state_is_entered_however_it_is_written():
    written = Deadline("now + 259200000", "lapse", "go", doc="three days")
    for same in (
        Deadline(timedelta(days=3), "lapse", "go", doc="three days"),
        Deadline("lapse", "go", after=timedelta(days=3), doc="three days"),
        Deadline("lapse", "go", after=3 * 86_400, doc="three days"),
        Deadline("lapse", "go", after=259_200.0, doc="three days"),
    ):
        assert vars(same) == vars(written)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (timedelta(days=1), "after 1 day"),
        (timedelta(days=1461), "after 1,461 days"),
        (timedelta(hours=36), "after 36 hours"),
        (timedelta(minutes=90), "after 90 minutes"),
        (1, "after 1 second"),
        (1.5, "after 1,500 milliseconds"),
    ],
)
def test_a_picture_says_a_duration_in_words_unless_the_declaration_does(after, words):
    assert Deadline("lapse", after=after).doc == words
    assert Deadline("lapse", after=after, doc="too late").doc == "too late"
    assert Deadline("now + 1", "lapse").doc == ""
