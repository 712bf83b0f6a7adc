"""Starts the real workerd once a session, with CPython and the built wheel inside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# As pytest's pythonpath does for tests/support.
sys.path[:0] = [str(HERE / "support"), str(HERE / "suites")]
pytest.register_assert_rewrite("storage_suite", "statements_suite", "workerd_server")

from node_tools import find_node, install_packages  # noqa: E402
from workerd_parts import build_wheel, dependency_wheels  # noqa: E402
from workerd_project import Project, copy_example  # noqa: E402
from workerd_server import Bindings, Server  # noqa: E402

BINDINGS = Bindings(
    databases={"JOBS_DB": "jobs"},
    producers={"JOBS_QUEUE": "jobs"},
    consumers={
        "jobs": {"maxBatchSize": 100, "maxBatchTimeout": 0, "maxRetries": 3, "deadLetterQueue": "dead"},
        "dead": {"maxBatchSize": 10, "maxBatchTimeout": 0},
    },
)

SCENARIOS = Bindings(
    databases={"JOBS_DB": "jobs"},
    producers={"JOBS_QUEUE": "jobs", "FLOOR_QUEUE": "floor"},
    consumers={
        "jobs": {"maxBatchSize": 100, "maxBatchTimeout": 0, "maxRetries": 2, "deadLetterQueue": "dead"},
        "floor": {"maxBatchSize": 100, "maxBatchTimeout": 0},
        # Batches arrive here by hand only.
        "newer": {"maxBatchSize": 100, "maxBatchTimeout": 0},
        "wide": {"maxBatchSize": 100, "maxBatchTimeout": 0},
        "dead": {"maxBatchSize": 10, "maxBatchTimeout": 0},
    },
)


@pytest.fixture(scope="session")
def node() -> Path:
    """Node, with the packages installed."""
    found = find_node()
    install_packages(found, HERE)
    # Wrangler is one large script, which every call would compile anew.
    os.environ.setdefault("NODE_COMPILE_CACHE", str(HERE / "node_modules" / ".cache" / "compiled"))
    return found


@pytest.fixture(scope="module")
def lonely_wrangler(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Wrangler keeps its notes to itself, and there is no account."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{node.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("WRANGLER_SEND_METRICS", "false")
        patch.setenv("CI", "1")
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def wheels(built_wheel: Path) -> list[Path]:
    """Everything that is installed in the runtime."""
    return [*dependency_wheels(), built_wheel]


@pytest.fixture(scope="session")
def worker(node: Path, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The test Worker, its tables made."""
    with Server(
        node,
        tmp_path_factory.mktemp("worker"),
        wheels=wheels,
        sources=[HERE / "app", HERE / "suites", HERE.parent / "support"],
        bindings=BINDINGS,
        timed=["statemachine", "kumofire_fsm"],
    ) as server:
        server.call("rebuild")
        yield server


@pytest.fixture(scope="session")
def migrated_example(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of examples/worker whose local database wrangler has migrated; to be duplicated, not changed."""
    project = copy_example(node, tmp_path_factory.mktemp("migrated") / "worker")
    project.migrate()
    return project


@pytest.fixture(scope="session")
def scenarios(node: Path, wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Worker of scenarios_app, on a queue that gives a message up after three deliveries."""
    with Server(
        node,
        tmp_path_factory.mktemp("scenarios_app"),
        wheels=wheels,
        sources=[HERE / "app", HERE / "scenarios_app"],  # of the two entry.py the last one counts
        bindings=SCENARIOS,
    ) as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded for people: import times and prices."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    lines = [value for report in calls for name, value in report.user_properties if name == "workerd"]
    if lines:
        terminalreporter.section("in workerd")
        for line in lines:
            terminalreporter.write_line(str(line))
