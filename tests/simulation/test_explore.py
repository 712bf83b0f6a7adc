"""Every interleaving of small worlds; `make explore` explores the larger ones too."""

from __future__ import annotations

import os

import pytest

from simulation.explore import WORLDS, explore

LEAST = {"calm": 400, "a retry": 400, "two keys": 200}
LARGER = {"one crash": 2_000, "one error": 1_200, "a late worker": 1_500, "two keys and a crash": 500}
"""Fewer states than these would mean that the exploration misses something."""
TURN = list(LARGER)[int(os.environ.get("KUMOFIRE_SLICE", "0")) % len(LARGER)]
"""Each run of the tests explores one of the larger worlds."""


@pytest.mark.parametrize("name", [*LEAST, TURN])
def test_no_interleaving_breaks_an_invariant(name: str):
    found = explore(WORLDS[name])
    print(f"{name}: {found.states} states, {found.paths} paths, {found.ends} ends")
    assert found.violation is None, "\n".join([str(found.violation), *(found.trace or ())])
    assert found.states >= {**LEAST, **LARGER}[name]
