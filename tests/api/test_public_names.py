"""What applications may import: seven modules, and these names in each; documentation and examples use nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {
    "kumofire_fsm": """
        Kumofire Jobs BoundJobs EmbeddedJobs SyncJobs RunContext PlainContext Transition Disposition Timing
        RunMachine JobMachine diagram
        NewRun NewSchedule PreparedRun Created RunStatus RunCounts JobStatus RunPage HistoryEntry Schedule SyncReport DispatchReport
        UnknownWork Matched FiredAll Stats JobCounts Lag CommonError Health
        Backoff NEVER RetryPolicy Retention Cancel Fail Fire Go Retry Snooze StepContext PlainStepContext
        KumofireError DefinitionError InvalidArgument TransitionNotAllowed UnknownRun
    """,
    "kumofire_fsm.machines": """
        Lifecycle RunMachine JobMachine HANDED_BACK
        State Event Edge Deadline Role Actor Outcome
        MachineSpec StateSpec EventSpec EdgeSpec
    """,
    "kumofire_fsm.flows": "Flow Task Wait End Signal FlowSpec StepSpec StepEdge Kind",
    "kumofire_fsm.testing": """
        assert_transition Moved assert_refused Refused NOW
        transition_cases TransitionCase Way paths_to Path event_sequences lint
        perform CallOutcome virtual_jobs VirtualJobs SyncVirtualJobs
        MemoryStorage RecordingQueue RecordedMessage VirtualClock Play
    """,
    "kumofire_fsm.errors": """
        KumofireError DefinitionError DrawingError MissingPackage BindingError
        InvalidArgument InvalidPayload InvalidResult InvalidSchedule TooLarge
        NotFound UnknownJob UnknownRun UnknownSchedule UnknownSignal MailFull
        TransitionError TransitionNotAllowed GuardFailed Conflict LeaseLost DedupeConflict
        InvalidMessage UnsupportedMessageVersion QueueError WaitTimeout NoResult
        StoreError TransientStoreError StoreOverloaded DailyLimitReached InvocationLimitReached DatabaseFull DatabaseReadOnly RowRefused RowUnreadable
        StatementRefused UnknownStoreError
        CommitRefused SchemaMismatch MigrationConflict WranglerError
        FileDamaged FileReplaced OpenedElsewhere
    """,
    "kumofire_fsm.cloudflare": "KumofireWorker",
    "kumofire_fsm.telemetry": "instrument",
}
NAMES = {module: sorted(names.split()) for module, names in PUBLIC.items()}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))


def declared(module: str) -> list[str]:
    """The module's __all__, read from its source: one of them is importable inside Workers only."""
    source = ROOT / Path(*module.split("."))
    file = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value))
    raise AssertionError(f"{file} has no __all__")


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Each module of the package that a source imports from, and the name; '' for the module itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kumofire_fsm":
            yield from ((str(node.module), each.name) for each in node.names)
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names if each.name.split(".")[0] == "kumofire_fsm")


def not_public(source: str) -> list[str]:
    """What a source imports of the package, and applications may not."""
    return [f"{module}: {name}" for module, name in imported(source) if name not in NAMES.get(module, ())]


@pytest.mark.parametrize("module", NAMES)
def test_these_are_the_public_names(module: str) -> None:
    assert declared(module) == NAMES[module]


@pytest.mark.parametrize("module", [module for module in NAMES if module != "kumofire_fsm.cloudflare"])
def test_every_public_name_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


def test_the_errors_of_the_root_are_those_of_their_module() -> None:
    root, errors = importlib.import_module("kumofire_fsm"), importlib.import_module("kumofire_fsm.errors")
    both = sorted(set(NAMES["kumofire_fsm"]) & set(NAMES["kumofire_fsm.errors"]))
    assert both == [
        "DefinitionError",
        "InvalidArgument",
        "KumofireError",
        "TransitionNotAllowed",
        "UnknownRun",
    ]
    assert [getattr(root, name) is getattr(errors, name) for name in both] == [True] * len(both)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_public_names_only(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert [found for block in blocks for found in not_public(block)] == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_an_example_imports_public_names_only(file: Path) -> None:
    assert not_public(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from kumofire_fsm import Kumofire, LeaseLost", ["kumofire_fsm: LeaseLost"]),
        (
            "def f():\n    from kumofire_fsm.store.schema import VERSION",
            ["kumofire_fsm.store.schema: VERSION"],
        ),
        ("import kumofire_fsm.store", ["kumofire_fsm.store: "]),
        ("import kumofire_fsmx, json", []),
    ],
)
def test_what_is_not_public_is_found(source: str, found: list[str]) -> None:
    assert not_public(source) == found
