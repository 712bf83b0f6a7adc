"""Calls a service with a quota; when that is used up, the run is parked until it is reset."""

import asyncio

from kumofire_fsm import Fire, Kumofire, RunContext, RunMachine, Transition
from kumofire_fsm.machines import HANDED_BACK, Actor, Deadline, Event, Role, State


class QuotaRun(RunMachine):
    """A run that leaves its place to others while the quota is used up."""

    parked = State(
        "The quota is used up; it goes on when that is reset.",
        role=Role.WAITING,
        deadline=Deadline("run_at", "resume"),
    )

    park = Event(
        RunMachine.running.to(parked, sets={"run_at": "next_at", **HANDED_BACK})
        | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
        doc='The handler raised Fire("park"); the attempt is given back.',
    )
    resume = Event(parked.to(RunMachine.ready), by=Actor.DEADLINE, doc="The quota is reset.")
    unpark = Event(parked.to(RunMachine.ready), sets={"run_at": "now"}, doc="Somebody bought more.")
    cancel = RunMachine.cancel | parked.to(RunMachine.canceled)


class Service:
    """Stands for a service that takes two calls, and more when the quota is reset."""

    def __init__(self, reset_after: float) -> None:
        self.left, self.reset_after = 2, reset_after

    def call(self, text: str) -> str | None:
        self.left -= 1
        return text.upper() if self.left >= 0 else None


app = Kumofire()


@app.job("translate", machine=QuotaRun)
async def translate(ctx: RunContext, text: str) -> str:
    service: Service = ctx.env
    answer = service.call(text)
    if answer is None:
        raise Fire("park", until=service.reset_after, note="the quota is used up")
    return answer


@app.on("resume")
async def reset(transition: Transition) -> None:
    transition.env.left = 2


async def main() -> None:
    async with app.open(":memory:", env=Service(reset_after=0.2)) as jobs:
        worker = asyncio.create_task(jobs.run(concurrency=1))
        ids = [(await jobs.create("translate", text)).kumofire_job_run_id for text in ("a", "b", "c")]
        for run_id in ids:
            status = await jobs.wait(run_id, timeout=10)
            print(status.state, status.result, [entry.event for entry in status.history])
        worker.cancel()


if __name__ == "__main__":
    asyncio.run(main())
