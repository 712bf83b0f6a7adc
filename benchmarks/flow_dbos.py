"""Eight steps by DBOS, in DBOS's own environment: `python flow_dbos.py INSTANCES`, for `bench_flows.py`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from dbos import DBOS
from measure import fresh_file, measured
from peers.dbos import launch

STEPS = 8


@DBOS.step()
def step(data: dict[str, int]) -> dict[str, int]:
    """Change the data."""
    return {**data, "done": data["done"] + 1}


@DBOS.workflow()
def eight(number: int) -> int:
    """Do eight steps, one after the other."""
    data = {"number": number, "done": 0}
    for _ in range(STEPS):
        data = step(data)
    return data["done"]


def main() -> None:
    """Print what so many instances took, as many at once as it likes."""
    instances = int(sys.argv[1])
    with fresh_file() as path:
        launch(path)
        with measured(STEPS * instances, None) as sample:
            handles = [DBOS.start_workflow(eight, number) for number in range(instances)]
            assert all(handle.get_result() == STEPS for handle in handles)
        DBOS.destroy()
    print(json.dumps(asdict(sample)))


if __name__ == "__main__":
    main()
