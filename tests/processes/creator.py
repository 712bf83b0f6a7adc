"""Creates runs on a file until its time is over: ``python creator.py DB SEED SECONDS``.

Each id stands on standard output once the call that created it has returned.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress

from crew import app

from kumofire_fsm import NewRun, TransitionNotAllowed

RATE = 25
"""About how many runs a second."""


def some(rng: random.Random) -> NewRun:
    """Return a run: mostly entries in the ledger, of which some fail at first and a few always."""
    plan = {
        "seconds": rng.choice([0, 0.02, 0.3]) * rng.random(),
        "failures": rng.choice([0] * 7 + [1, 2, 99]),
    }
    return NewRun(
        "entry",
        plan,
        delay=rng.choice([None, None, None, rng.random()]),
        max_attempts=rng.choice([1, 3, 3, 6]),
        tags=["failing"] if plan["failures"] == 99 else None,
    )


def main() -> None:
    """Create until the time is over."""
    path, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    rng, end = random.Random(seed), time.monotonic() + seconds
    with app.open_sync(path, synchronous="OFF") as jobs:
        while time.monotonic() < end:
            made = jobs.create_many([some(rng) for _ in range(rng.randrange(1, 2 * RATE // 5))])
            for each in made:
                print(each.kumofire_job_run_id, flush=True)
            if rng.random() < 0.2:
                with suppress(TransitionNotAllowed):  # it was quicker
                    jobs.cancel(made[0].kumofire_job_run_id)
            time.sleep(rng.uniform(0, 0.4))


if __name__ == "__main__":
    main()
