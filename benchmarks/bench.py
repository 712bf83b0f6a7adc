"""The package beside a hand-written loop and huey, on one machine in one run: `make bench`.

Everything is durable (synchronous=FULL, WAL). The contenders take turns within each round, on two cores and
pinned to one; what counts is the median of the rounds' ratios. The answer goes to results/bench.json, and
from there into the pages (`publishing.py`).
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from typing import Any

import publishing
import results
from agents import Agent, Environment, import_cpu, settings
from machine import Watch, describe

CONTENDERS = ("by_hand", "kumofire", "huey")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    single: int
    many: int
    huey: int
    latency: int
    imports: int


FULL = Size(rounds=7, single=500, many=10_000, huey=300, latency=150, imports=9)
QUICK = Size(rounds=1, single=100, many=2_000, huey=60, latency=30, imports=2)


def orders(size: Size) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return for each work the contenders, and what each is asked."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "one_by_one": [
            (who, {"work": "one_by_one", "runs": size.huey if who == "huey" else size.single})
            for who in CONTENDERS
        ],
        "creators": [
            (who, {"work": "creators", "runs": size.huey if who == "huey" else size.many, "number": 100})
            for who in CONTENDERS
        ],
    }
    for batch in (100, 500):
        found[f"bulk_{batch}"] = [
            (who, {"work": "bulk", "runs": size.many, "size": batch}) for who in CONTENDERS[:2]
        ]
    return found


def measure_rounds(size: Size) -> dict[str, Any]:
    """Return the samples by setting, work and contender, one a round."""
    found: dict[str, Any] = {}
    agents = {who: Agent(who) for who in CONTENDERS}
    for number in range(size.rounds):
        for setting, cores in settings().items():
            print(f"round {number + 1} of {size.rounds}, on {len(cores)} core(s)", flush=True)
            for work, asked in orders(size).items():
                for who, order in asked if number % 2 == 0 else asked[::-1]:
                    sample = agents[who].ask(**order, cores=cores)
                    found.setdefault(setting, {}).setdefault(work, {}).setdefault(who, []).append(sample)
    for agent in agents.values():
        agent.__exit__(None)
    return found


def latencies(size: Size) -> dict[str, Any]:
    """Return milliseconds from create to handler, by setting and by where the creator is."""
    found: dict[str, Any] = {}
    pauses = [random.uniform(0.005, 0.03) for _ in range(size.latency)]
    for setting, cores in settings().items():
        with Agent("kumofire") as agent:
            found[setting] = {
                "in": agent.ask("latencies", pauses=pauses, cores=cores),
                "across": agent.ask("extra", call="across", pauses=pauses),
            }
    return found


def standing() -> dict[str, Any]:
    """Return what an idle worker takes, and what one holds after ten thousand runs."""
    with Agent("kumofire") as agent:
        idle = agent.ask("idle")
        agent.ask("bulk", runs=10_000, size=500)
        return {**idle, "after_10000_mb": agent.ask("resident")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--dry", action="store_true", help="print what was found, and write nothing")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    machine, watch = describe(), Watch()
    here = Environment()
    both = {
        "kumofire_fsm": ("kumofire_fsm", here),
        "pydantic_statemachine": ("pydantic, statemachine", here),
    }
    found: dict[str, Any] = {
        "machine": machine,
        "rounds": size.rounds,
        "samples": measure_rounds(size),
        "latencies": latencies(size),
        "standing": standing(),
        "import_ms": import_cpu(both, size.imports),
    }
    with Agent("kumofire") as agent:
        found["profile"] = agent.ask("extra", call="profile", runs=size.many // 2)
    found["took"] = watch.end()
    publishing.publish("bench", results.rounded(found), dry=options.dry)


if __name__ == "__main__":
    main()
