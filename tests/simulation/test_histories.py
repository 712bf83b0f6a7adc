"""Thousands of short histories, each with its own clients, faults and order of events."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulation.faults import ACTOR, CLOCK, LOCK, RENEWAL, SLEEPING, STORAGE, Fault
from simulation.history import SETTINGS, play
from simulation.moves import SPEC
from simulation.shrink import report, shrink

SEEDS_A_TEST = {"workers": 200, "embedded": 18}
SLICE = int(os.environ.get("KUMOFIRE_SLICE", "0")) % 10_000
"""Which slice of all histories is played; `make test` takes another each time."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("setting", SEEDS_A_TEST)
def test_every_invariant_holds_in_every_history(setting: str, part: int):
    seeds = SEEDS_A_TEST[setting]
    first = (SLICE * 8 + part) * seeds
    for seed in range(first, first + seeds):
        result = play(seed, setting=setting)
        if result.violation is not None:
            pytest.fail(report(shrink(result)), pytrace=False)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_seed_gives_the_same_history_in_every_process(setting: str):
    def told(hash_seed: str) -> bytes:
        python_path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": python_path}
        command = [sys.executable, "-m", "simulation", "simulate", "--setting", setting, "--seed"]
        return b"".join(
            subprocess.run([*command, str(seed)], env=environment, capture_output=True, check=True).stdout
            for seed in (3, 8)
        )

    first = told("1")
    assert len(first) > 1_000
    assert told("2") == first


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_history_does_not_depend_on_those_before_it(setting: str):
    first = play(5, setting=setting).trace()
    play(6, setting=setting)
    assert play(5, setting=setting).trace() == first


def met(setting: str, seeds: range) -> tuple[set[Any], set[Any], set[Any]]:
    """Return which faults histories meet, which events they walk, and which states they leave as they are."""
    faults, events, loops = set(), set(), set()
    for seed in seeds:
        world = play(seed, setting=setting).world
        faults |= {struck.fault for struck in world.faults.struck}
        events |= {event for event, _, _ in world.monitor.walked}
        loops |= {source for event, source, _ in world.monitor.walked if event is None}
    return faults, events, loops


def test_histories_together_meet_every_fault_and_walk_every_event():
    faults, events, loops = met("workers", range(10_000, 10_250))
    assert faults == set(Fault) - {*LOCK, *RENEWAL, *CLOCK}
    assert events - {None, "create"} == {edge.event for edge in SPEC.edges if edge.source != edge.target}
    # What leaves the state as it is: a hint is sent again, and a lease is renewed.
    again = {edge.source for edge in SPEC.edges_of("redeliver")} | {e.target for e in SPEC.edges_of("start")}
    assert loops >= again


def test_embedded_histories_together_meet_every_fault_of_a_process_and_walk_every_event():
    faults, events, loops = met("embedded", range(10_000, 10_150))
    assert faults == {*STORAGE, *SLEEPING, *ACTOR, *LOCK, *RENEWAL, *CLOCK}
    assert events - {None, "create"} == {edge.event for edge in SPEC.edges if edge.source != edge.target}
    assert loops >= {edge.target for edge in SPEC.edges_of("start")}
