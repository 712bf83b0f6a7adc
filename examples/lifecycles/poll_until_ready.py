"""Asks a slow service for a report until it is there, at most ten minutes in all."""

import asyncio

from kumofire_fsm import Kumofire, RunContext, RunMachine, Snooze
from kumofire_fsm.machines import HANDED_BACK, Actor, Deadline, Event, Role, State


class PollingRun(RunMachine):
    """A run whose handler's Snooze means "not yet", and whose patience ends."""

    polling = State(
        "It was not there yet; the handler asks again when its time comes.",
        role=Role.WAITING,
        deadline=Deadline("least(run_at, created_at + 600000)", "give_up", "poll"),
    )
    too_late = State("It was not there within ten minutes.", role=Role.SETTLED)

    snooze = Event(
        RunMachine.running.to(polling, sets={"run_at": "next_at", **HANDED_BACK})
        | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
        doc="The handler raised Snooze; the attempt is given back.",
    )
    poll = Event(polling.to(RunMachine.ready), by=Actor.DEADLINE, doc="It is time to ask again.")
    give_up = Event(
        polling.to(too_late, cond="created_at + 600000 <= now"),
        by=Actor.DEADLINE,
        doc="The ten minutes are over.",
    )
    cancel = RunMachine.cancel | polling.to(RunMachine.canceled)


class Service:
    """Stands for a service that has the report at the third question."""

    def __init__(self, pause: float) -> None:
        self.asked, self.pause = 0, pause

    def ask(self, name: str) -> str | None:
        self.asked += 1
        return f"{name}: 42 pages" if self.asked > 2 else None


app = Kumofire()


@app.job("fetch-report", machine=PollingRun)
async def fetch_report(ctx: RunContext, name: str) -> str:
    service: Service = ctx.env
    report = service.ask(name)
    if report is None:
        print(f"attempt {ctx.attempt}: not there yet")
        raise Snooze(until=service.pause)
    return report


async def main() -> None:
    async with app.open(":memory:", env=Service(pause=0.05)) as jobs:
        worker = asyncio.create_task(jobs.run())
        created = await jobs.create("fetch-report", "sales")
        status = await jobs.wait(created.kumofire_job_run_id, timeout=10)
        print(status.state, status.result)
        print([entry.event for entry in status.history])
        worker.cancel()


if __name__ == "__main__":
    asyncio.run(main())
