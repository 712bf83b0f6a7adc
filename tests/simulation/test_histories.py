"""Thousands of short histories, each with its own clients, faults and order of events."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.faults import Fault
from simulation.history import play
from simulation.moves import SPEC
from simulation.shrink import report, shrink

SEEDS_A_TEST = 300
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", range(8))
def test_every_invariant_holds_in_every_history(part: int):
    for seed in range(part * SEEDS_A_TEST, (part + 1) * SEEDS_A_TEST):
        result = play(seed)
        if result.violation is not None:
            pytest.fail(report(shrink(result)), pytrace=False)


def test_the_same_seed_gives_the_same_history_in_every_process():
    def told(hash_seed: str) -> bytes:
        python_path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": python_path}
        command = [sys.executable, "-m", "simulation", "simulate", "--seed"]
        return b"".join(
            subprocess.run([*command, str(seed)], env=environment, capture_output=True, check=True).stdout
            for seed in (3, 8)
        )

    first = told("1")
    assert len(first) > 1_000
    assert told("2") == first


def test_a_history_does_not_depend_on_those_before_it():
    first = play(5).trace()
    play(6)
    assert play(5).trace() == first


def test_histories_together_meet_every_fault_and_walk_every_event():
    faults, events, loops = set(), set(), set()
    for seed in range(10_000, 10_250):
        world = play(seed).world
        faults |= {struck.fault for struck in world.faults.struck}
        events |= {event for event, _, _ in world.monitor.walked}
        loops |= {source for event, source, _ in world.monitor.walked if event is None}
    assert faults == set(Fault)
    moves = {edge.event for edge in SPEC.edges if edge.source != edge.target}
    assert events - {None, "create"} == moves
    # What leaves the state as it is: a hint is sent again, and a lease is renewed.
    again = {edge.source for edge in SPEC.edges_of("redeliver")} | {e.target for e in SPEC.edges_of("start")}
    assert loops >= again
