"""Sends hints to the queue; a refusal costs latency, never a run."""

from __future__ import annotations

from collections.abc import Sequence

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.fire import fire
from kumofire_fsm.errors import QueueError, StoreError
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Hint
from kumofire_fsm.store.rows import Moved

__all__ = ["hint_if_near", "send_hints"]


async def send_hints(binding: Binding, runs: Sequence[tuple[str, int]]) -> int:
    """Send hints for (id, due) pairs; return how many the queue refused.

    A refusal is not the caller's error: the run is stored, and its deadline is pulled forward.
    """
    if binding.queue is None or not runs:
        return 0
    now = binding.now()
    hints = [Hint(run_id, max(0, -(-(run_at - now) // 1000))) for run_id, run_at in runs]
    try:
        await binding.queue.send(hints)
    except QueueError as exc:
        log.warning("the queue refused %d hints (%s); they will be sent again", len(hints), exc)
        try:
            await fire(binding, [binding.move(run_id, "nudge", now=now) for run_id, _ in runs])
        except StoreError as again:  # the run is stored all the same, and its deadline stands
            log.warning("their deadlines could not be pulled forward: %s", again)
        return len(hints)
    return 0


async def hint_if_near(binding: Binding, run: Moved) -> None:
    """Wake a consumer for a run that a person has just moved, if it may start soon.

    The run stays as it is: a hint starts whatever is claimable and due.
    """
    definition = binding.definition(run.job)
    near = run.run_at <= binding.now() + binding.timing.horizon_ms
    if near and definition is not None and definition.machine.has_role(run.state, Role.CLAIMABLE):
        await send_hints(binding, [(run.id, run.run_at)])
