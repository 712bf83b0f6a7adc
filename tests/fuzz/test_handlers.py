"""Whatever a handler hands over, returns or raises with, its run settles and no other is touched."""

from __future__ import annotations

import asyncio
from typing import Any

from fuzzing import JSON, JUNK, TEXTS, fuzz_more, refused_whole_or_done, register, watched
from harness import Kit
from hypothesis import given
from hypothesis import strategies as st

from kumofire_fsm import Cancel, Created, Fail, Fire, KumofireError, Retry, RunMachine, Snooze
from kumofire_fsm.machines import Role

VALUES = st.lists(TEXTS | st.integers() | st.floats() | st.none() | JUNK, max_size=3)
STATEMENTS = st.tuples(
    st.sampled_from(["INSERT INTO notes VALUES (?)", "SELECT ?", "DELETE FROM notes"]), VALUES
)
SIGNALS = st.sampled_from([Retry, Snooze, Fail, Cancel, Fire, ValueError])


@fuzz_more
@given(
    payload=JSON | JUNK,
    statements=st.lists(STATEMENTS | TEXTS | JUNK, max_size=3) | JUNK,
    progress=JUNK | JSON,
    result=JUNK | JSON,
    signal=st.none() | st.tuples(SIGNALS, JUNK),
)
def test_whatever_a_handler_does_its_run_settles_or_goes_on(
    payload: Any, statements: Any, progress: Any, result: Any, signal: Any
) -> None:
    kit = Kit()
    register(kit)

    @kit.job("any", max_attempts=1)
    async def any_(ctx: Any, given: Any) -> Any:
        for act in (lambda: ctx.commit(statements), lambda: ctx.heartbeat(progress)):
            try:
                outcome = act()
                if outcome is not None:
                    await outcome
            except KumofireError as exc:
                str(exc)
        if signal is not None:
            raise signal[0](signal[1])
        return result

    async def scenario() -> None:
        async with watched(kit) as w:
            await w.sql("CREATE TABLE notes (note)")
            try:
                made = await refused_whole_or_done(w, lambda: w.jobs.create("any", payload))
                run_id = made.kumofire_job_run_id if isinstance(made, Created) else await w.create("any", 1)
                beside = await w.create("echo", 1)
                await w.deliver(run_id, beside)
                status = await w.status(run_id)
                assert not RunMachine.spec.has_role(status.state, Role.LEASED), status
                assert status.attempt <= status.max_attempts
                assert await w.state(beside) == RunMachine.succeeded.id
            finally:
                w.storage.texts -= {text for text in w.storage.texts if "kumofire" not in text}

    asyncio.run(scenario())
