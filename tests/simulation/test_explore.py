"""Every interleaving of a small world, another with each commit; `make explore` explores all, and larger ones."""

from __future__ import annotations

import pytest
from slices import SLICE, sliced

from simulation.explore import WORLDS, explore

LEAST = {"calm": 400, "a retry": 400, "two keys": 200}
"""Fewer states than these would mean that the exploration misses something."""
LARGER = ("one crash", "one error", "a late worker", "two keys and a crash")
PART = 250


@pytest.mark.parametrize("name", sliced(list(LEAST), 3))
def test_no_interleaving_breaks_an_invariant(name: str):
    found = explore(WORLDS[name])
    assert found.violation is None, "\n".join([str(found.violation), *(found.trace or ())])
    assert found.states >= LEAST[name]


@pytest.mark.parametrize("name", sliced(LARGER, 2))
def test_nor_does_one_of_a_part_of_a_larger_world(name: str):
    """Each commit explores another part of two; `make explore` explores all."""
    found = explore(WORLDS[name], most=PART, turn=SLICE)
    assert found.violation is None, "\n".join([str(found.violation), *(found.trace or ())])
    assert found.states >= PART
