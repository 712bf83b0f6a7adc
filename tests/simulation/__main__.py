"""Plays histories from the command line: one seed, many seeds, the mutants, the small worlds."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time

from simulation.explore import WORLDS, explore
from simulation.flows.mutants import MUTANTS as OF_FLOWS
from simulation.history import SETTINGS, play
from simulation.mutants import MUTANTS, SEEDS, catch
from simulation.shrink import report, shrink


def simulate(seed: int, steps: int | None, setting: str) -> int:
    """Play one seed and print what happened; a violation is shrunk first."""
    result = play(seed, setting=setting, steps=steps)
    if result.violation is not None:
        print(report(shrink(result)))
        return 1
    print("\n".join(result.trace()))
    stored = hashlib.sha256(repr(result.world.database.dump()).encode()).hexdigest()[:16]
    print(f"what is stored: {stored}")
    print(f"seed {seed}: {result.world.steps} steps, {len(result.world.faults.struck)} faults, no violation")
    return 0


def soak(histories: int, first: int, setting: str) -> int:
    """Play many seeds, and stop at the first violation."""
    began = time.perf_counter()
    for number in range(1, histories + 1):
        result = play(first + number - 1, setting=setting)
        if result.violation is not None:
            print(report(shrink(result)))
            return 1
        if number % 1_000 == 0 or number == histories:
            rate = number / (time.perf_counter() - began)
            print(f"{number:,} of {histories:,} histories, {rate:.0f} a second, no violation", flush=True)
    return 0


def mutants() -> int:
    """Print which invariant catches each mutant, and after how many seeds."""
    survivors = 0
    print(f"| {'mutant':<44} | {'caught by':<31} | seeds |\n|{'-' * 46}|{'-' * 33}|{'-' * 7}|")
    for mutant in (*MUTANTS, *OF_FLOWS):
        caught = catch(mutant)
        by = "(it survives)" if caught is None or caught.violation is None else caught.violation.invariant
        survivors += caught is None
        print(f"| {mutant.name:<44} | {by:<31} | {SEEDS if caught is None else caught.seed + 1:>5} |")
    return int(survivors > 0)


def explore_all(names: list[str]) -> int:
    """Explore small worlds to the end, and print how many states they have."""
    for name in names or list(WORLDS):
        began = time.perf_counter()
        found = explore(WORLDS[name])
        seconds = time.perf_counter() - began
        print(
            f"{name}: {found.states:,} states, {found.paths:,} paths, {found.ends:,} ends, {seconds:.0f} s, "
            f"{found.violation or 'no violation'}",
            flush=True,
        )
        if found.violation is not None:
            print("\n".join(found.trace or ()))
            return 1
    return 0


def main() -> int:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("simulate")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--steps", type=int)
    many = commands.add_parser("soak")
    many.add_argument("--histories", type=int, default=100_000)
    many.add_argument("--first", type=int, default=1_000_000)
    for command in (one, many):
        command.add_argument("--setting", choices=SETTINGS, default="workers")
    commands.add_parser("mutants")
    commands.add_parser("explore").add_argument("worlds", nargs="*")
    given = parser.parse_args()
    match given.command:
        case "simulate":
            return simulate(given.seed, given.steps, given.setting)
        case "soak":
            return soak(given.histories, given.first, given.setting)
        case "mutants":
            return mutants()
    return explore_all(given.worlds)


if __name__ == "__main__":
    sys.exit(main())
