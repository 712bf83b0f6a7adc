"""The verbs: a lifecycle that does not answer an event that the code fires by name does not come to exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import kumofire_fsm
from kumofire_fsm.engine.flow_versions import REDRIVE
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.machines._declarations import EdgeList
from kumofire_fsm.machines._verbs import VERBS
from kumofire_fsm.machines.spec import ADMIT, HOLD

ALL = [(base, verb) for base in (RunMachine, JobMachine) for verb in VERBS[base.table]]
REQUIRED = pytest.mark.parametrize(
    ("base", "verb"), [pytest.param(b, v, id=f"{b.machine_name}-{v.event}") for b, v in ALL if v.sources]
)
OPEN = pytest.mark.parametrize(
    ("base", "verb"),
    [pytest.param(b, v, id=f"{b.machine_name}-{v.event}") for b, v in ALL if v.sources and v.always],
)
EVERY = pytest.mark.parametrize(
    ("base", "verb"), [pytest.param(b, v, id=f"{b.machine_name}-{v.event}") for b, v in ALL]
)
PACKAGE = Path(str(kumofire_fsm.__file__)).parent
ROOMS = ("engine", "runs", "schedules", "work", "embedded")
FIRING = {"move", "ending", "_people", "fire_person", "fire_for_tick"}


def made(base, **body):
    """Create a subclass from its attributes, as a class statement would."""
    return type(base)("Small", (base,), {"__module__": __name__, **body}, machine="small")


def findings(base, **body):
    """Return what is found of a subclass that does not come to exist."""
    with pytest.raises(DefinitionError) as refused:
        made(base, **body)
    assert refused.value.findings
    return refused.value.findings


def said(base, event, **body):
    """Return what is said of a verb, which is said first."""
    found = findings(base, **body)
    assert (found[0].rule, found[0].event) == ("verb", event)
    return [str(each) for each in found if each.rule == "verb" and each.event == event]


def again(base, verb, *, to=None, cond=None, **changed):
    """Declare a verb anew: with one edge from each state, or with all of its own."""
    event = getattr(base, verb.event)
    edges = {edge.source.id: edge for edge in reversed(event._transitions)}
    anew = EdgeList(
        one
        for state in states(base)
        if (edge := edges.get(state))
        for one in edge.source.to(to or edge.target, cond=cond, sets=edge.sets)
    )
    said = {"by": event.by, "sets": event.sets, **changed}
    return Event(event if to is None and cond is None else anew, **said)


def advice(text):
    """Return the code that a message proposes."""
    (code,) = re.findall(r"; [^`]*`([^`]+)`", text)
    return code


def states(base):
    return {state.id: state for state in base.states}


@REQUIRED
def test_without_a_verb_the_class_is_refused_with_the_line_to_add(base, verb):
    (text,) = said(base, verb.event, **{verb.event: None})
    sources = " and ".join(map(repr, verb.states(base.spec)))
    assert text.startswith(f"small: no edge of {verb.event!r} leads from {sources}, so {verb.lost}; add `")
    name, code = advice(text).split(" = ", 1)
    assert name == verb.event
    mended = {name: eval(code, {"Event": Event, "Actor": Actor, **states(base)})}
    try:
        made(base, **mended)
    except DefinitionError as refused:  # a state that only the verb led to, perhaps
        assert [each.rule for each in refused.findings] == ["unreachable"]


@REQUIRED
def test_a_verb_of_another_name_is_none(base, verb):
    (text,) = said(base, verb.event, **{verb.event: None, "finish": getattr(base, verb.event)})
    assert f"no edge of {verb.event!r} leads from " in text


@OPEN
def test_a_verb_whose_edges_may_all_be_shut_is_refused_with_the_edge_to_add(base, verb):
    texts = said(base, verb.event, **{verb.event: again(base, verb, cond="now > 5")})
    assert len(texts) == len(verb.states(base.spec))
    for state, text in zip(verb.states(base.spec), texts, strict=True):
        assert text.startswith(
            f"small: every edge of {verb.event!r} from {state!r} has a guard: where none holds, {verb.lost}; add `"
        )
        assert re.fullmatch(rf"{state}\.to(\.itself\(\)|\(\w+\))", advice(text))
        assert text.endswith(" as its last edge")


@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS["kumofire_runs"] if verb.sources and not verb.always]
)
def test_a_start_may_have_a_guard_of_its_own(verb):
    spec = made(RunMachine, start=again(RunMachine, verb, cond="run_at + 5 < now")).spec
    assert {edge.guard_text for edge in spec.edges_of(verb.event)} == {"run_at + 5 < now"}


@REQUIRED
def test_a_verb_that_leads_to_a_state_of_another_role_is_refused(base, verb):
    wrong = next((s for s in base.states if s.role not in verb.leads), None)
    extra = {}
    if wrong is None:  # the lifecycle has none
        role = next(role for role in Role if role not in verb.leads)
        wrong = State("Wrong.", role=role, deadline=Deadline("now", "end"))
        extra = {"wrong": wrong}
    texts = said(base, verb.event, **extra, **{verb.event: again(base, verb, to=wrong)})
    name = wrong.id or "wrong"
    for state, text in zip(verb.states(base.spec), texts, strict=True):
        role = " or ".join(verb.leads)
        assert text.startswith(
            f"small: {verb.event!r} leads from {state!r} to {name!r}, which is {wrong.role}, so {verb.lost}; "
            f"lead it to a {role} state, such as `{state}.to"
        )


@EVERY
@pytest.mark.parametrize("actor", Actor)
def test_a_verb_of_another_actor_is_refused(base, verb, actor):
    if actor is verb.by:
        made(base, **{verb.event: again(base, verb)})
        return
    (text,) = said(base, verb.event, **{verb.event: again(base, verb, by=actor)})
    assert text == (
        f"small: {verb.event!r} is declared for a {actor}, but a {verb.by} fires it; say `by=Actor.{verb.by.name}`"
    )


@REQUIRED
def test_a_verb_that_forgets_a_column_is_refused(base, verb):
    if not verb.assigns:
        return
    texts = said(base, verb.event, **{verb.event: again(base, verb, sets={})})
    assert len(texts) >= len(verb.assigns)
    for text in texts:
        assert re.search(f"and does not assign '({'|'.join(verb.assigns)})'; let the event say `sets=", text)


@pytest.mark.parametrize("column", ["starts", "claim", "timeout_at"])
def test_a_start_that_weakens_the_fence_is_refused(column):
    sets = {**RunMachine.start.sets, column: column if column == "starts" else "None"}
    start = Event(RunMachine.start, by=Actor.CONSUMER, sets=sets)
    texts = said(RunMachine, "start", start=start)
    assert len(texts) == 3
    assert all(f"and assigns another value to {column!r}; let the event say `sets=" in text for text in texts)


def test_what_a_person_asks_for_need_not_be_possible():
    small = made(RunMachine, redrive=None, reschedule=None)
    assert small.spec.event("redrive") is None


def test_a_state_of_ones_own_answers_too():
    checking = State("It is checked.", role=Role.LEASED, deadline=Deadline("now + lease_ms", "lose"))
    found = findings(
        RunMachine,
        checking=checking,
        check=Event(RunMachine.running.to(checking), by=Actor.CONSUMER),
        lose=RunMachine.lose | checking.to(RunMachine.failed),
    )
    assert {each.event: advice(str(each)) for each in found if each.rule == "verb"} == {
        "heartbeat": "checking.to.itself()",
        "succeed": "checking.to(succeeded)",
        "retry": "checking.to(failed)",
        "fail": "checking.to(failed)",
        "stop": "checking.to(canceled)",
        "snooze": "checking.to(ready)",
        "release": "checking.to(queued)",
    }


def test_canceling_is_led_where_running_leads_so_that_no_canceled_run_gets_past_a_review():
    reviewing = State("It is reviewed.", role=Role.WAITING, waits=True)
    found = findings(
        RunMachine,
        reviewing=reviewing,
        succeed=Event(
            RunMachine.running.to(RunMachine.failed, cond="attempt > 3") | RunMachine.running.to(reviewing),
            by=Actor.CONSUMER,
            sets=RunMachine.succeed.sets,
        ),
        accept=Event(reviewing.to(RunMachine.succeeded)),
    )
    assert [advice(str(each)) for each in found if each.event == "succeed"] == ["canceling.to(reviewing)"]


def test_where_every_way_from_running_is_guarded_the_usual_one_is_proposed():
    reviewing = State("It is reviewed.", role=Role.WAITING, waits=True)
    found = findings(
        RunMachine,
        reviewing=reviewing,
        succeed=Event(
            RunMachine.running.to(reviewing, cond="attempt > 3"),
            by=Actor.CONSUMER,
            sets=RunMachine.succeed.sets,
        ),
        accept=Event(reviewing.to(RunMachine.succeeded)),
    )
    said = {each.what.split(",")[0]: advice(str(each)) for each in found if each.event == "succeed"}
    assert list(said.values()) == ["canceling.to(succeeded)", "running.to(succeeded)"]


def test_a_deadline_of_a_recurring_job_names_the_event_that_is_fired_then():
    draft = State("Not yet.", role=Role.WAITING, initial=True, deadline=Deadline("now + 5", "publish"))
    publish = Event(draft.to(JobMachine.active), by=Actor.DEADLINE)
    ways = {name: getattr(JobMachine, name) | draft.to(JobMachine.ended) for name in ("advance", "end")}
    ways["suspend"] = JobMachine.suspend | draft.to(JobMachine.suspended)
    ways["revise"] = JobMachine.revise | draft.to.itself()
    (text,) = said(JobMachine, "advance", draft=draft, publish=publish, **ways)
    assert text == (
        "small: the deadline of 'draft' names publish, but 'advance' is fired then; name it in the deadline, or "
        "say `waits=True`"
    )


def test_rows_of_another_table_are_nobodys(declare):
    a, b = State(role=Role.LEASED, initial=True, deadline=Deadline("now", "go")), State(role=Role.SETTLED)
    small = declare(in_table="rows", a=a, b=b, go=Event(a.to(b)))
    assert small.spec.legal("a") == ("go",)


def fired_by_name():
    """Return the events that the code names where it fires one."""
    found = set()
    for path in (path for room in ROOMS for path in (PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            values = []
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                values = node.args[:3] if name in FIRING else []
                values = [
                    *values,
                    *(k.value for k in node.keywords if k.arg == "event" and name == "_replace"),
                ]
            if isinstance(node, ast.Dict):
                values = [
                    v
                    for k, v in zip(node.keys, node.values, strict=True)
                    if getattr(k, "value", "") == "event"
                ]
            found |= {v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)}
    return found


def test_the_verbs_are_what_the_code_fires_by_name_and_starts():
    assert fired_by_name() | {"start", HOLD, ADMIT, REDRIVE} == {verb.event for _, verb in ALL}
