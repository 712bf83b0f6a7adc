"""The page on lifecycles: its files run as they stand, and its commands print what it says."""

import re
from pathlib import Path

import pytest
from columns_page import renewed
from pages import files, page, played, sessions
from scripts import run_pytest, run_python

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Event, Role, RunMachine
from kumofire_fsm.machines import _rules as rules
from kumofire_fsm.machines import _verbs as verbs
from kumofire_fsm.machines.lint import _overlaps as overlaps
from kumofire_fsm.machines.lint import _warnings as lint
from kumofire_fsm.testing import NOW, assert_transition

PAGE = page("lifecycles.md")
FILES = files(PAGE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_these_are_the_files_of_the_page() -> None:
    assert list(FILES) == [
        "lifecycles.py",
        "reviewed.py",
        "orders.py",
        "sorting.py",
        "test_approved_run.py",
        "test_deadline.py",
        "test_all_of_it.py",
        "doubtful.py",
        "renamed.py",
    ]


def test_the_page_s_lifecycle_with_a_state_after_the_handler_is_as_it_should_be(folder: Path) -> None:
    done = run_python(folder, "-m", "kumofire_fsm.cli", "machine", "lint", "reviewed:ReviewedRun")
    assert (done.returncode, done.stdout) == (0, "reviewed:ReviewedRun: nothing to mend\n")
    moves = """
from kumofire_fsm.testing import assert_transition
from reviewed import ReviewedRun

for leased in ("running", "canceling"):
    reviewing = assert_transition(ReviewedRun, leased, "succeed", value='"a result"')
    accepted = assert_transition(ReviewedRun, reviewing, "accept")
    print(reviewing, accepted, accepted.row["result"], assert_transition(ReviewedRun, reviewing, "reject"))
"""
    done = run_python(folder, "-c", moves)
    assert (done.stderr, done.stdout) == ("", 'reviewing succeeded "a result" rejected\n' * 2)


def test_the_page_s_lifecycle_of_orders_asks_a_second_person_where_it_says(folder: Path) -> None:
    done = run_python(folder, "-m", "kumofire_fsm.cli", "machine", "lint", "orders:app")
    assert (done.returncode, done.stdout) == (0, "orders:app: nothing to mend\n")
    moves = """
from kumofire_fsm.testing import assert_transition
from orders import ApprovedOrder

for payload in ({"amount": 100, "country": "de"}, {"amount": 100}, {"amount": 101, "country": "de"}):
    print(assert_transition(ApprovedOrder, "approval", "approve", payload=payload))
"""
    done = run_python(folder, "-c", moves)
    assert (done.stderr, done.stdout) == ("", "ready\nsecond\nsecond\n")


def test_on_the_page_only_a_large_order_waits_for_a_person(folder: Path) -> None:
    done = run_python(folder, "-m", "kumofire_fsm.cli", "machine", "lint", "sorting:LargeOrder")
    assert (done.returncode, done.stdout) == (0, "sorting:LargeOrder: nothing to mend\n")
    moves = """
from kumofire_fsm import Kumofire, PlainContext
from kumofire_fsm.testing import virtual_jobs
from sorting import LargeOrder

app = Kumofire()


@app.job("ship", machine=LargeOrder)
def ship(ctx: PlainContext, order: dict[str, int]) -> None: ...


with virtual_jobs(app) as jobs:
    for amount in (100, 101):
        jobs.create("ship", {"amount": amount})
        jobs.advance(1)
        print(jobs.list_runs(limit=1).runs[0].state)
    jobs.advance(days=3)
    print(jobs.list_runs(limit=1).runs[0].state)
"""
    done = run_python(folder, "-c", moves)
    assert (done.stderr, done.stdout) == ("", "succeeded\napproval\ncanceled\n")


def test_an_edge_that_reads_next_at_makes_the_run_due_when_the_handler_says_as_on_the_page() -> None:
    shown = re.search(r"an edge `(RunMachine\.running\.to\(.*?\))` makes", PAGE.replace(",\n", ", "))
    assert shown is not None
    edge = eval(shown[1], {"RunMachine": RunMachine})
    postpone = Event(edge | RunMachine.canceling.to(RunMachine.canceled), by=Actor.CONSUMER)
    postponed = type(RunMachine)("Postponed", (RunMachine,), {"__module__": __name__, "postpone": postpone})
    assert "postpone" in postponed.spec.endings
    ready = assert_transition(postponed, "running", "postpone", next_at=NOW + 60_000)
    assert (ready, ready.row["run_at"]) == ("ready", NOW + 60_000)


def test_the_page_s_renamed_state_is_only_left_and_the_lifecycle_has_nothing_to_mend(folder: Path) -> None:
    done = run_python(folder, "-m", "kumofire_fsm.cli", "machine", "lint", "renamed:ApprovedRun")
    assert (done.returncode, done.stdout) == (0, "renamed:ApprovedRun: nothing to mend\n")
    moves = """
from kumofire_fsm.testing import assert_transition
from renamed import ApprovedRun

spec = ApprovedRun.spec
print([edge.event for edge in spec.edges if edge.target == "approval"])
for event in spec.legal("review"):
    print(event, assert_transition(ApprovedRun, "approval", event) == assert_transition(ApprovedRun, "review", event))
"""
    done = run_python(folder, "-c", moves)
    assert (done.stderr, done.stdout) == ("", "[]\ncancel True\napprove True\noverlook True\n")


def test_two_lifecycles_of_the_page_are_joined_as_it_says(folder: Path) -> None:
    join = """
from lifecycles import ApprovedRun
from reviewed import ReviewedRun

class Both(ApprovedRun, ReviewedRun):
    cancel = ApprovedRun.cancel | ReviewedRun.cancel
    rejected = ApprovedRun.rejected
    reject = ApprovedRun.reject | ReviewedRun.reject

print(Both.spec.initial.id, Both.spec.edges_from("running", "succeed")[0].target)
"""
    done = run_python(folder, "-c", join)
    assert (done.stderr, done.stdout) == ("", "approval reviewing\n")


def test_the_tables_of_columns_and_parameters_are_those_of_the_code() -> None:
    assert renewed(PAGE) == PAGE, "run make columns"


def test_the_page_says_which_events_give_a_parameter_that_the_inherited_edges_read() -> None:
    given = dict(re.findall(r"^\| `(\w+)` \| `[^`]*` \| .* \| (.*) \|$", PAGE, re.MULTILINE))
    told = {name: set(re.findall(r"`(\w+)`", given[name])) for name in ("value", "next_at", "token", "alone")}
    spec = RunMachine.spec
    read = {
        name: {edge.event for edge in spec.edges if name in edge.names()}
        for name in ("value", "next_at", "token", "alone")
    }
    assert {name: told[name] - {"Fire"} for name in told} == read


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
def test_each_test_on_the_page_passes(folder: Path, name: str) -> None:
    done = run_pytest(folder, name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_s_commands_print_what_it_says_in_their_order(tmp_path: Path) -> None:
    assert len(sessions(PAGE)) == 5
    assert played(PAGE, tmp_path) == sessions(PAGE)


def test_with_the_inherited_redrive_a_run_gets_round_its_approval_as_the_page_says(folder: Path) -> None:
    own = re.compile(r"    redrive = Event\(.*?\n    \)\n", re.DOTALL)
    weakened, removed = own.subn("", FILES["lifecycles.py"])
    assert removed == 1
    (folder / "lifecycles.py").write_text(weakened)
    lint_ = run_python(folder, "-m", "kumofire_fsm.cli", "machine", "lint", "lifecycles:ApprovedRun")
    assert (
        "warning bypass: approved_run: redrive from canceled leads to ready, past 'approval'" in lint_.stdout
    )
    done = run_pytest(folder, "test_all_of_it.py")
    assert done.returncode == 1
    assert "events=['cancel', 'redrive']" in done.stdout
    assert "With the inherited `redrive` the last test fails with `['cancel', 'redrive']`" in PAGE


def test_the_page_tells_of_every_rule() -> None:
    sources = [Path(str(module.__file__)).read_text("utf-8") for module in (rules, verbs, lint, overlaps)]
    told = {
        name
        for names in re.findall(r"^\|([^|]*)\| (?:error|warning) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    yielded = {name for text in sources for name in re.findall(r'yield (?:\(\s*)?"([a-z-]+)"', text)}
    assert yielded | {"callback", "definition", "import"} == told


FROM = {
    "": "",
    "hinted": " with a hint under way",
    "timed": " with a deadline",
}


def line(verb: verbs.Verb) -> str:
    """Return a verb as the page's table has it."""
    source = " or ".join(verb.sources) + FROM[verb.only] if verb.sources else "need not exist"
    leads = " or ".join(verb.leads) if verb.leads != tuple(Role) else "any"
    guard = "no" if verb.always else "yes"
    sets = ", ".join(f"`{column}`" for column in verb.assigns)
    return f"| `{verb.event}` | {verb.by} | {source} | {leads} | {guard} | {sets} | {verb.when} |"


@pytest.mark.parametrize("table", verbs.VERBS)
def test_the_page_lists_the_verbs(table: str) -> None:
    assert "\n".join(map(line, verbs.VERBS[table])) + "\n\n" in PAGE


def test_the_page_shows_what_is_said_of_a_missing_verb() -> None:
    with pytest.raises(DefinitionError) as refused:
        type(RunMachine)("ApprovedRun", (RunMachine,), {"stop": None})
    assert f"```text\n{refused.value}\n```" in PAGE
