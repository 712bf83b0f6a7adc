"""A small shop: a web layer that creates jobs, and the jobs. Its tests stand beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pydantic import BaseModel

from kumofire_fsm import Backoff, Cancel, Kumofire, RunContext, Snooze, SyncJobs

app = Kumofire(retry=Backoff(first=5))


class Order(BaseModel):
    number: int
    mail: str
    cents: int


class Outside(Protocol):
    """What the shop needs of others: handlers find it in ``ctx.env``."""

    async def charge(self, key: str, cents: int) -> str: ...
    async def send(self, to: str, text: str) -> None: ...
    async def is_packed(self, number: int) -> bool: ...


@app.job("charge", max_attempts=3)
async def charge(ctx: RunContext, order: Order) -> str:
    outside: Outside = ctx.env
    receipt = await outside.charge(
        ctx.run.id, order.cents
    )  # the run's id: charged once, however often it runs
    ctx.commit([("INSERT INTO receipts (number, receipt) VALUES (?, ?)", (order.number, receipt))])
    ctx.commit(ctx.jobs.prepare_create(ship, order).statements)  # with the success, exactly once
    return receipt


@app.job("ship")
async def ship(ctx: RunContext, order: Order) -> None:
    outside: Outside = ctx.env
    await ctx.heartbeat(progress="waiting for the parcel")
    if ctx.canceled:
        raise Cancel("before it left")
    if not await outside.is_packed(order.number):
        raise Snooze(until=1_800)
    await outside.send(order.mail, f"Order {order.number} is on its way.")
    await ctx.jobs.create(ask, order, delay=7 * 86_400, dedupe_key=f"order {order.number}")


@app.job("ask")
async def ask(ctx: RunContext, order: Order) -> None:
    outside: Outside = ctx.env
    await outside.send(order.mail, "How do you like it?")


@app.schedule(cron="0 7 * * *", timezone="Europe/Berlin")
@app.job("report")
async def report(ctx: RunContext) -> int:
    failed = await ctx.jobs.list_runs(state="failed")
    outside: Outside = ctx.env
    await outside.send("owner@example.com", f"{len(failed.runs)} orders need you")
    return len(failed.runs)


StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def web(jobs: SyncJobs) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """The shop as a WSGI application: POST /orders, and GET /orders/ID."""

    def respond(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            created = jobs.create(charge, Order.model_validate_json(body))
            return answer(start, "202 Accepted", id=created.kumofire_job_run_id)
        status = jobs.get_status(environ["PATH_INFO"].removeprefix("/orders/"))
        if status is None:
            return answer(start, "404 Not Found")
        return answer(start, "200 OK", state=status.state, receipt=status.result)

    return respond


def answer(start: StartResponse, status: str, **body: Any) -> Iterable[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
