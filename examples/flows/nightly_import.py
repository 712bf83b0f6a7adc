"""Every night a file is imported, once it is there: it is looked for every ten minutes, until the morning."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from kumofire_fsm import Backoff, Go, Kumofire, PlainStepContext
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome


class Import(BaseModel):
    path: Path
    rows: int = 0


class NightlyImport(Flow[Import]):
    """A file, from its arrival to the report."""

    look = Task("Is the file there?", initial=True)
    missing = Wait("It is not there yet.", deadline=Deadline(timedelta(minutes=10), "again", "give_up"))
    load = Task("Its rows are stored.", max_attempts=5, retry=Backoff(first=timedelta(minutes=1)))
    report = Task("Somebody reads how it went.")
    imported = End("The rows are there.")
    absent = End("No file came this night.", Outcome.FAILURE)

    done = look >> load >> report >> imported
    not_yet = look >> missing
    again = missing.to(look, cond="visit < 72")  # six hours: two visits every ten minutes
    give_up = missing.to(absent)
    arrived = Signal(missing.to(load), takes=None, doc="Whoever writes the file says so.")


app = Kumofire()
app.schedule(cron="0 1 * * *", timezone="Europe/Berlin", payload={"path": "/srv/sales.csv"})(NightlyImport)


@app.step(NightlyImport.look)
def look(_ctx: PlainStepContext, new: Import) -> None:
    if not new.path.exists():
        raise Go(NightlyImport.not_yet)


@app.step(NightlyImport.load)
def load(_ctx: PlainStepContext, new: Import) -> Import:
    rows = new.path.read_text().splitlines()[1:]
    return new.model_copy(update={"rows": len(rows)})


@app.step(NightlyImport.report)
def report(_ctx: PlainStepContext, new: Import) -> None:
    print(f"{new.path.name}: {new.rows} rows")


async def main(folder: Path) -> None:
    async with app.open(folder / "jobs.db") as jobs:
        worker = asyncio.create_task(jobs.run())
        new = Import(path=folder / "sales.csv")
        run_id = (await jobs.create(NightlyImport, new)).kumofire_job_run_id
        while (status := await jobs.get_status(run_id)).step != "missing":
            await asyncio.sleep(0.01)
        print(status.state, status.step)
        new.path.write_text("day,sold\n1,5\n2,7\n")
        await jobs.signal(run_id, NightlyImport.arrived)
        print((await jobs.wait(run_id, timeout=10)).step)
        worker.cancel()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
