"""Each defect that is put in on purpose is caught."""

from __future__ import annotations

import functools

import pytest
from slices import sliced

from simulation.explore import WORLDS, explore
from simulation.flows.mutants import MUTANTS as OF_FLOWS
from simulation.history import play
from simulation.invariants import Monitor
from simulation.mutants import MUTANTS, SEEDS, Mutant, catch
from simulation.shrink import report, shrink

ALL = (*MUTANTS, *OF_FLOWS)
BY_NAME = {mutant.name: mutant for mutant in ALL}
PARTS = 12
"""A commit tries a twelfth of the mutants, the next another; `make mutants` tries all."""
# Histories of the embedded worker are the longest.
LONGEST_FIRST = sorted(sliced(ALL, PARTS), key=lambda mutant: "embedded" not in mutant.setting)


@pytest.mark.parametrize("mutant", LONGEST_FIRST, ids=lambda mutant: mutant.name)
def test_an_invariant_catches(mutant: Mutant):
    caught = catch(mutant)
    assert caught is not None, f"it survives {SEEDS} seeds"
    assert caught.violation is not None
    assert mutant.invariant in ("", caught.violation.invariant)


def test_the_bound_on_calls_catches_by_itself_a_run_whose_losses_never_count(monkeypatch):
    """Other invariants see it sooner: they are made blind here."""
    found = Monitor.found

    def found_only_calls(self: Monitor, invariant: str, text: str) -> None:
        if invariant == "calls are bounded":
            found(self, invariant, text)

    monkeypatch.setattr(Monitor, "found", found_only_calls)
    assert catch(BY_NAME["every loss is in company"]) is not None


@pytest.mark.parametrize(
    ("name", "invariant"),
    [
        ("a start takes nothing of its key's allowance", "within the key's rate"),
        ("a claim asks for no rate of a key", "within the key's rate"),
        ("a run is held while its key has an allowance", "held for a reason"),
        ("a held run is told no turn", "a bounded wait"),
    ],
)
def test_what_breaks_a_rate_by_key_is_caught_by_the_invariant_for_it(name: str, invariant: str):
    caught = catch(BY_NAME[name])
    assert caught is not None
    assert caught.violation is not None
    assert caught.violation.invariant == invariant


def test_a_failing_history_is_shrunk_to_a_short_trace():
    mutant = BY_NAME["a settle is not fenced"]
    failing = catch(mutant)
    assert failing is not None
    with mutant.applied() as parts:
        shrunk = shrink(failing, functools.partial(play, parts=parts))
    result = shrunk.result
    assert result.violation is not None
    assert result.violation.invariant == "the fence"
    assert len(result.actions) == 2
    assert len(result.world.faults.struck) < len(failing.world.faults.struck)
    text = report(shrunk)
    assert text.startswith(f"seed {result.seed}: the fence: ")
    assert f"make simulate SEED={result.seed}" in text
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("name", "invariant"),
    [("a key has a place too many", "within the key's limit"), ("an ending admits nobody", "a key goes on")],
)
def test_exploration_of_two_keys_finds_what_breaks_them(name: str, invariant: str):
    with BY_NAME[name].applied() as parts:
        found = explore(WORLDS["two keys"], parts=parts)
    assert found.violation is not None
    assert found.violation.invariant == invariant


def test_exploration_finds_the_one_order_in_which_a_missing_fence_matters():
    with BY_NAME["a settle is not fenced"].applied() as parts:
        found = explore(WORLDS["a late worker"], parts=parts)
    assert found.violation is not None
    assert found.violation.invariant == "the fence"
