"""What a command says when it cannot load the module that it was given, and what it can load of the example."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Done, kumofire

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "worker"


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget what a test imported."""
    path, known = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("src", "in_worker"):
            del sys.modules[name]


@pytest.mark.parametrize("module", ["workers", "js"])
def test_a_module_that_only_a_worker_has_is_told_as_such(tmp_path: Path, module: str) -> None:
    (tmp_path / "in_worker.py").write_text(f"import {module}\n")
    done = kumofire(tmp_path, "migrate", "in_worker:app")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("kumofire: 'in_worker' cannot be imported: No module named ")
    assert done.err.endswith(
        "exists inside a Worker only, so put the application and its jobs into a module that does not import "
        "it, nor kumofire_fsm.cloudflare, and name that one\n"
    )


def test_another_module_that_is_missing_is_told_without_a_guess(tmp_path: Path) -> None:
    (tmp_path / "in_worker.py").write_text("import no_such_module\n")
    done = kumofire(tmp_path, "migrate", "in_worker:app")
    text = "kumofire: 'in_worker' cannot be imported: No module named 'no_such_module'\n"
    assert done == Done(2, "", text)


def test_the_jobs_of_the_example_are_loaded_outside_of_a_worker() -> None:
    pending = kumofire(EXAMPLE, "migrate", "src.jobs:app", "--dir", "migrations", "--dry-run")
    assert pending == Done(0, "migrations: would add 0001_initial.sql\n  0001_initial.sql\n")
    assert kumofire(EXAMPLE, "machine", "lint", "src.jobs:app") == Done(0, "src.jobs:app: nothing to mend\n")
