"""Thousands of short histories, each with its own clients, faults and order of events."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from slices import SLICE, sliced

from simulation.faults import ACTOR, CLOCK, LOCK, RENEWAL, SLEEPING, STORAGE, Fault
from simulation.history import SETTINGS, play
from simulation.moves import SPEC

SEEDS_A_TEST = {"workers": 100, "embedded": 10, "flows": 20, "flows-embedded": 2}
"""Histories, by setting; each slice has its own."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("setting", SEEDS_A_TEST)
def test_every_invariant_holds_in_every_history(setting: str):
    seeds = SEEDS_A_TEST[setting]
    first = SLICE % 80_000 * seeds
    for seed in range(first, first + seeds):
        result = play(seed, setting=setting)
        if result.violation is not None:
            again = f"make simulate SEED={seed} SETTING={setting}"
            pytest.fail(f"seed {seed}: {result.violation}; {again} makes it small", pytrace=False)


@pytest.mark.parametrize("setting", sliced(list(SETTINGS), 4))
def test_the_same_seed_gives_the_same_history_in_every_process(setting: str):
    program = f"""
from simulation.history import play
for seed in range({SLICE % 1_000}, {SLICE % 1_000 + 1 + SEEDS_A_TEST[setting] // 10}):
    print(*play(seed, setting={setting!r}).trace(), sep="\\n")
"""

    def told(hash_seed: str) -> str:
        python_path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")])
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": python_path}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout

    first = told("1")
    assert len(first.splitlines()) > 200
    assert told("2") == first


@pytest.mark.parametrize("setting", sliced(list(SETTINGS), 2))
def test_a_history_does_not_depend_on_those_before_it(setting: str):
    first = play(5, setting=setting).trace()
    play(6, setting=setting)
    assert play(5, setting=setting).trace() == first


def meet(setting: str, seeds: Iterable[int], faults: set[Fault], again: set[str]) -> None:
    """Play histories until they have met these faults, walked every event, and left these states as they are.

    The first of the seeds met all of it when they were chosen.
    """
    moving = {edge.event for edge in SPEC.edges if edge.source != edge.target}
    struck: set[Fault] = set()
    events: set[str | None] = set()
    loops: set[str] = set()
    for seed in seeds:
        world = play(seed, setting=setting).world
        struck |= {each.fault for each in world.faults.struck}
        events |= {event for event, _, _ in world.monitor.walked}
        loops |= {source for event, source, _ in world.monitor.walked if event is None}
        if struck >= faults and events >= moving and loops >= again:
            break
    assert events - {None, "create"} == moving
    assert loops >= again
    assert struck == faults


def test_histories_together_meet_every_fault_and_walk_every_event():
    # What leaves the state as it is: a hint is sent again, and a lease is renewed.
    again = {edge.source for edge in SPEC.edges_of("redeliver")} | {e.target for e in SPEC.edges_of("start")}
    meet(
        "workers",
        (10_035, 10_019, 10_094, 10_036, *range(10_000, 10_250)),
        set(Fault) - {*LOCK, *RENEWAL, *CLOCK},
        again,
    )


def test_embedded_histories_together_meet_every_fault_of_a_process_and_walk_every_event():
    again = {edge.target for edge in SPEC.edges_of("start")}
    seeds = (10_055, 10_005, 10_081, 10_006, *range(10_000, 10_150))
    meet("embedded", seeds, {*STORAGE, *SLEEPING, *ACTOR, *LOCK, *RENEWAL, *CLOCK}, again)
