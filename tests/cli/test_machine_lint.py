"""`kumofire machine lint`: what it prints, and the exit code that a pipeline goes by."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from kumofire_fsm.cli.commands import cli
from kumofire_fsm.errors import InvalidArgument

WORDS = "from kumofire_fsm.machines import Deadline, Event, State, Role, RunMachine\n"
SILENT = (
    WORDS
    + """
class Approved(RunMachine):
    approval = State(role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready))
"""
)
BROKEN = (
    WORDS
    + """
class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True)
    vault = State(role=Role.WAITING, waits=True)
    approve = Event(approval.to(RunMachine.ready))
"""
)
WARNING = (
    "warning undocumented-state: approved: state 'approval' says nothing about itself\n"
    '  begin its declaration with a sentence: State("Waits for a person.", ...)\n'
    "0 errors, 1 warning\n"
)


@pytest.fixture
def lint(tmp_path, monkeypatch, request):
    """Write a module, and lint ``Approved`` in it; return the exit code and what was printed."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"shop_{abs(hash(request.node.name))}"

    def run(source, *options, target="Approved"):
        (tmp_path / f"{name}.py").write_text(source)
        done = CliRunner().invoke(cli, ["machine", "lint", f"{name}:{target}", *options])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout.replace(str(tmp_path), "").replace(name, "shop")

    yield run


@pytest.mark.parametrize("name", ["RunMachine", "JobMachine"])
def test_the_built_in_lifecycles_are_clean_even_when_strict(name):
    done = CliRunner().invoke(cli, ["machine", "lint", f"kumofire_fsm:{name}", "--strict"])
    assert (done.exit_code, done.stdout) == (0, f"kumofire_fsm:{name}: nothing to mend\n")


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_a_warning_fails_only_when_strict(lint, options, code):
    assert lint(SILENT, *options) == (code, WARNING)


def test_a_lifecycle_that_cannot_exist_is_told_with_all_its_errors_and_the_line(lint):
    assert lint(BROKEN) == (
        1,
        (
            "error no-deadline: approved: state 'approval' has no deadline, so a run could stay in it for ever\n"
            "  at /shop.py:3\n"
            "  give it deadline=Deadline(...), or say waits=True\n"
            "error unreachable: approved: state 'vault' cannot be reached from 'approval'\n"
            "  at /shop.py:3\n"
            "  add an edge to it, or say retired=True if only older code entered it\n"
            "error no-way-out: approved: no way leads from 'vault' to a settled state\n"
            "  at /shop.py:3\n"
            "  add one\n"
            "3 errors, 0 warnings\n"
        ),
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("    waits = State(waits=True)", "State: missing a required argument: 'role'"),
        ("    waits = State(role='idle')", "State(''): no Role 'idle'; there are claimable, leased, waiting, settled"),
        ("    send = State(role=Role.SETTLED)", "Approved.send: the name is reserved; choose another"),
    ],
)  # fmt: skip
def test_whatever_else_a_declaration_raises_is_an_error_at_its_line(lint, body, what):
    code, printed = lint(f"{WORDS}class Approved(RunMachine):\n{body}\n")
    line = 2 if "reserved" in what else 3
    assert (code, printed) == (
        1,
        (
            f"error definition: shop:Approved: {what}\n  at /shop.py:{line}\n"
            "  mend the declaration at this line\n1 error, 0 warnings\n"
        ),
    )


def test_json_holds_every_finding_in_full(lint):
    code, printed = lint(BROKEN, "--json")
    found = json.loads(printed)
    assert (code, len(found)) == (1, 3)
    assert found[0] == {
        "rule": "no-deadline",
        "severity": "error",
        "machine": "approved",
        "what": "state 'approval' has no deadline, so a run could stay in it for ever",
        "mend": "give it deadline=Deadline(...), or say waits=True",
        "state": "approval",
        "event": None,
        "source": "/shop.py:3",
    }


def test_json_is_an_empty_list_when_there_is_nothing_to_mend():
    done = CliRunner().invoke(cli, ["machine", "lint", "kumofire_fsm:RunMachine", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "kumofire_fsm",
            "must be RunMachine or JobMachine or MODULE:CLASS, such as shop.lifecycles:ApprovedRun",
        ),
        ("kumofire_fsm.machines:RunMachin", "has no 'RunMachin'; it has JobMachine, RunMachine"),
        ("kumofire_fsm:Kumofire", "and not a lifecycle, a flow or a Kumofire object"),
        ("kumofire_fsm.machines:Lifecycle", "and not a lifecycle"),
        ("no_such_module:Machine", "cannot be imported"),
    ],
)
def test_a_target_that_is_no_lifecycle_is_refused(monkeypatch, target, message):
    done = CliRunner().invoke(cli, ["machine", "lint", target])
    assert isinstance(done.exception, InvalidArgument)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("source", "what", "line"),
    [
        ("def load():\n    return {}['x']\nload()\n", "KeyError: 'x'", 2),
        ("1 / 0\n", "ZeroDivisionError: division by zero", 1),
    ],
)
def test_a_module_whose_own_code_raises_is_not_taken_for_a_declaration(lint, source, what, line):
    code, printed = lint(source)
    mend = "mend the module; what only a script is to do belongs under if __name__ == '__main__':"
    assert (code, printed) == (
        1,
        (
            f"error import: shop:Approved: importing the module failed: {what}\n  at /shop.py:{line}\n"
            f"  {mend}\n1 error, 0 warnings\n"
        ),
    )


OTHERS = """
class Other(Approved):
    pass

class Unused(Approved):
    pass

from kumofire_fsm import Kumofire
app = Kumofire()
for name, machine in {"a": Approved, "b": Other, "c": Approved, "d": RunMachine}.items():
    app.job(name, machine=machine)(lambda ctx: None)
"""


def test_of_an_application_the_lifecycles_of_its_jobs_are_checked_each_once(lint):
    code, printed = lint(SILENT + OTHERS, target="app")
    named = [line.split(": ")[1] for line in printed.splitlines() if line.startswith("warning")]
    assert (code, named) == (0, ["approved", "other"])


def test_an_application_with_nothing_to_mend_says_so(lint):
    source = "from kumofire_fsm import Kumofire\napp = Kumofire()\n"
    assert lint(source, target="app") == (0, "shop:app: nothing to mend\n")


FLOW = """
from kumofire_fsm import Kumofire
from kumofire_fsm.flows import End, Flow, Signal, Wait
from pydantic import BaseModel

class Data(BaseModel):
    number: int = 1

class Order(Flow[Data]):
    placed = Wait("It waits.", initial=True, waits=True)
    over = End()
    pay = Signal(placed.to(over), takes=None)
    close = placed.to(over)

app = Kumofire()
app.flow(Order)
"""


@pytest.mark.parametrize("target", ["Order", "app"])
def test_a_flow_is_checked_by_itself_and_with_its_application(lint, target):
    code, printed = lint(FLOW, "--strict", target=target)
    assert (code, printed) == (
        1,
        (
            "warning unfired-event: order: nobody fires 'close' out of the wait 'placed': it is no signal, and no deadline's\n"
            "  say close = Signal(..., takes=...), name it in the deadline, or drop the edge\n"
            "warning undocumented-step: order: the step 'over' says nothing about itself\n"
            '  begin its declaration with a sentence: Task("The card is charged.", ...)\n'
            "0 errors, 2 warnings\n"
        ),
    )
    found = json.loads(lint(FLOW, "--json", target=target)[1])
    assert [(each["rule"], each["state"], each["event"]) for each in found] == [
        ("unfired-event", "placed", "close"),
        ("undocumented-step", "over", None),
    ]


def test_a_flow_that_cannot_exist_is_told_with_its_error_and_the_line(lint):
    code, printed = lint(FLOW.replace(", waits=True", ""), target="Order")
    assert (code, printed) == (
        1,
        (
            "error no-deadline: Order: the wait 'placed' has no deadline, so an instance could stay in it for ever\n"
            "  at /shop.py:9\n  give it deadline=Deadline(...), or say waits=True\n1 error, 0 warnings\n"
        ),
    )
