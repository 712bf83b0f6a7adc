"""``kumofire --help`` imports no more than it prints: what is heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "asyncio", "sqlite3", "pydantic", "statemachine", "croniter", "rich", "graphviz", "markdown_it",
    "kumofire_fsm.app", "kumofire_fsm.machines", "kumofire_fsm.models", "kumofire_fsm.store",
    "kumofire_fsm.drawing", "kumofire_fsm.adapters", "kumofire_fsm.embedded", "kumofire_fsm.calendar",
    "kumofire_fsm.cli.linting", "kumofire_fsm.cli.d1", "kumofire_fsm.cli.worker",
}  # fmt: skip
SCRIPT = """
import json, sys
sys.argv = ["kumofire", *{arguments}]
try:
    from kumofire_fsm.cli import main
    main()
except SystemExit as exc:
    assert exc.code in (0, None), exc.code
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"], ["runs", "cancel", "--help"]])
def test_a_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)], capture_output=True, text=True, check=True
    )
    *shown, modules = done.stdout.splitlines()
    assert "Usage:" in "\n".join(shown)
    # Typer itself imports pydantic, where it is installed, for a command with arguments.
    typers = {"pydantic"} if len(arguments) > 1 else set()
    assert sorted(HEAVY & set(json.loads(modules)) - typers) == []


def test_each_public_name_is_imported_when_it_is_asked_for() -> None:
    script = "import kumofire_fsm; {}; print(all(hasattr(kumofire_fsm, n) for n in kumofire_fsm.__all__))"
    forget = "assert 'kumofire_fsm.models' not in __import__('sys').modules"
    done = subprocess.run(
        [sys.executable, "-c", script.format(forget)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_a_name_that_does_not_exist_is_told() -> None:
    import kumofire_fsm

    with pytest.raises(AttributeError, match="module 'kumofire_fsm' has no attribute 'nothing'"):
        kumofire_fsm.nothing  # noqa: B018
