"""Runs in each state of the built-in lifecycle, reached as an application would."""

from __future__ import annotations

from typing import Any

from harness import Bound, Kit

from kumofire_fsm import Fail

STATES = ["ready", "queued", "running", "retrying", "canceling", "succeeded", "failed", "canceled"]
SETTLED = ["succeeded", "failed", "canceled"]


def register(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx, payload):
        if payload == "fail":
            raise Fail("asked to")
        if payload == "retry":
            raise ValueError
        return "x" * 1000


async def run_in(w: Bound, state: str, **options: Any) -> str:
    """Create a run and bring it into a state."""
    payload = {"failed": "fail", "retrying": "retry"}.get(state, "go")
    run_id = await w.create("job", payload, delay=3600 if state == "ready" else None, **options)
    if state == "canceled":
        await w.jobs.cancel(run_id)
    elif state not in ("ready", "queued"):
        if state in ("running", "canceling"):
            w.storage.fail_once("runs.succeed", "before")
        await w.deliver(run_id)
        if state == "canceling":
            await w.jobs.cancel(run_id)
    assert await w.state(run_id) == state
    return run_id
