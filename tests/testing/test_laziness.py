"""Neither pytest nor hypothesis is imported before it is needed, and their absence is said clearly."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from kumofire_fsm import RunMachine
from kumofire_fsm.errors import MissingPackage
from kumofire_fsm.testing import assert_refused, assert_transition, event_sequences, paths_to, transition_cases
assert assert_transition(RunMachine, "ready", "start") == "running"
assert assert_refused(RunMachine, "ready", "retry") == "illegal"
assert len(paths_to(RunMachine, "failed")) == 3
print(sorted({"pytest", "_pytest", "hypothesis"} & set(sys.modules)))
sys.modules["pytest"] = sys.modules["hypothesis"] = None
for make in (transition_cases, event_sequences):
    try:
        make(RunMachine)
    except MissingPackage as exc:
        print(exc)
"""


def test_only_what_is_asked_for_is_imported():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[]",
        "transition_cases needs pytest; run: pip install pytest",
        "event_sequences needs hypothesis; run: pip install hypothesis",
    ]


@pytest.mark.parametrize("module", ["kumofire_fsm", "kumofire_fsm.machines"])
def test_the_package_itself_imports_nothing_of_the_testing_tools(module):
    script = f"import sys, {module}; print([m for m in sys.modules if 'testing' in m and 'kumofire' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
