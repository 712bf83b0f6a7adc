"""A child process refuses what its parent opened; a program that ends does not wait for what stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from patience import SECONDS_MAX
from slices import sliced

HEAD = """
import asyncio, multiprocessing, os, signal, sys, threading, time
from contextlib import ExitStack
from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.errors import KumofireError, OpenedElsewhere, StoreError

app = Kumofire()
app.job("child")(lambda ctx: None)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())


def refused(call):
    try:
        call()
    except OpenedElsewhere as exc:
        say("refused", "forked" in str(exc))
    else:
        say("not refused")

"""

Play = Callable[[str], tuple[int, list[str], str]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a script in a process group of its own; whatever it leaves behind is killed."""

    def run(script: str) -> tuple[int, list[str], str]:
        file = tmp_path / "script.py"
        file.write_text(HEAD + textwrap.dedent(script))
        out, err = tmp_path / "out", tmp_path / "err"
        with out.open("wb") as to, err.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, file], cwd=tmp_path, stdout=to, stderr=errors, start_new_session=True
            )
        try:
            code = process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it hangs; it said: {out.read_text()} {err.read_text()[-3000:]}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return code, out.read_text().splitlines(), err.read_text()

    return run


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
CHILD = """
    def in_child(function):
        pid = os.fork()
        if pid == 0:
            try:
                function()
            finally:
                os._exit(0)
        say("child ended", os.waitpid(pid, 0)[1])
"""


# -- forks ----------------------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize(
    "call", ['create("child")', "count_runs()", "run()", "create_many([NewRun('child')])", "wait('x')"]
)
def test_the_synchronous_api_is_refused_in_a_child_at_once(play: Play, call: str) -> None:
    code, said, error = play(
        CHILD
        + f"""
    with app.open_sync("jobs.db") as jobs:
        jobs.create("child")
        in_child(lambda: refused(lambda: jobs.{call}))
        jobs.create("child")
        say(jobs.count_runs())
    """
    )
    assert (code, said) == (0, ["refused True", "child ended 0", "queued 2"]), error


@needs_fork
def test_a_child_leaves_the_with_and_ends_in_order_and_the_parent_goes_on(play: Play) -> None:
    code, said, error = play("""
    @app.lifespan
    async def lifespan(jobs):
        yield
        say("shut down in", "the parent" if os.getpid() == parent else "the child")

    parent = os.getpid()
    with app.open_sync("jobs.db") as jobs:
        jobs.create("child")
        pid = os.fork()
        if pid:
            say("child ended", os.waitpid(pid, 0)[1])
            jobs.create("child")
            say(jobs.count_runs())
    if not pid:
        say("child left")
    """)
    wanted = ["child left", "child ended 0", "queued 2", "shut down in the parent"]
    assert (code, said) == (0, wanted), error


@needs_fork
def test_the_asynchronous_api_is_refused_in_a_child_and_the_with_ends(play: Play) -> None:
    code, said, error = play("""
    async def main():
        async with app.open("jobs.db") as jobs:
            worker = asyncio.ensure_future(jobs.run())
            await jobs.create("child")
            pid = os.fork()
            if pid == 0:
                for call in (jobs.create("child"), jobs.count_runs(), jobs.run()):
                    try:
                        await call
                    except OpenedElsewhere:
                        say("refused")
            else:
                say("child ended", (await asyncio.to_thread(os.waitpid, pid, 0))[1])
                say((await jobs.create("child")).is_new)
                jobs.stop()
                await worker
        if pid == 0:
            say("child left")
            os._exit(0)

    asyncio.run(main())
    """)
    wanted = ["refused", "refused", "refused", "child left", "child ended 0", "True"]
    assert (code, said) == (0, wanted), error


@needs_fork
def test_a_loop_of_the_childs_own_is_refused_too(play: Play) -> None:
    code, said, error = play(
        CHILD
        + """
    loop = asyncio.new_event_loop()
    opening = app.open("jobs.db")
    jobs = loop.run_until_complete(opening.__aenter__())
    loop.run_until_complete(jobs.create("child"))
    in_child(lambda: refused(lambda: asyncio.run(jobs.create("child"))))
    in_child(lambda: refused(lambda: asyncio.run(jobs.get_status("0198c0de-0000-7000-8000-000000000000"))))
    loop.run_until_complete(opening.__aexit__(None, None, None))
    """
    )
    assert (code, said) == (0, ["refused True", "child ended 0"] * 2), error


@needs_fork
def test_a_child_opens_the_file_again(play: Play) -> None:
    code, said, error = play(
        CHILD
        + """
    def again():
        with app.open_sync("jobs.db") as mine:
            mine.create("child")

    with app.open_sync("jobs.db") as jobs:
        jobs.create("child")
        in_child(again)
        say(jobs.count_runs())
    """
    )
    assert (code, said) == (0, ["child ended 0", "queued 2"]), error


WORKER = """
    from kumofire_fsm.cli.worker import work

    def sleep(begun):
        begun.set()
        time.sleep(300)

    def from_child(ctx):
        refused(lambda: ctx.jobs.create("child"))
        refused(lambda: ctx.heartbeat())

    processes = multiprocessing.get_context("fork")
"""


@needs_fork
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_to_a_handlers_child_ends_the_child_and_not_the_worker(
    play: Play, kind: str, number: str
) -> None:
    """The child inherits the worker's signal handlers, and the socket that they write into."""
    code, said, error = play(
        WORKER
        + f"""
    def start_and_end():
        begun = processes.Event()  # Python drops the signals that a child gets while it is being forked
        child = processes.Process(target=sleep, args=(begun,))
        child.start()
        begun.wait()
        os.kill(child.pid, signal.{number})
        child.join(50)
        say("ended", not child.is_alive(), child.exitcode != 0)
        child.kill()

    if {kind!r} == "plain":
        app.job("parent")(lambda ctx: start_and_end())
    else:
        @app.job("parent")
        async def parent(ctx):
            start_and_end()

    @app.job("last", priority="low")
    async def last(ctx):
        await asyncio.sleep(0.1)  # what was written into the socket has been read by now
        say("the worker goes on")
        os.kill(os.getpid(), signal.SIGTERM)

    with app.open_sync("jobs.db") as jobs:
        jobs.create("parent")
        jobs.create("last", delay=0.01)
    asyncio.run(work(app, "jobs.db", concurrency=1, lease=15, grace=10))
    """
    )
    assert (code, said) == (0, ["ended True True", "the worker goes on"]), error


@needs_fork
def test_a_pool_of_processes_in_a_handler_is_terminated_and_the_worker_goes_on(play: Play) -> None:
    code, said, error = play(
        WORKER
        + """
    @app.job("parent")
    def parent(ctx):
        with processes.Pool(2) as pool:  # leaving it terminates its processes
            say(pool.map(abs, [-1, -2]))
        child = processes.Process(target=from_child, args=(ctx,))
        child.start()
        child.join()

    @app.job("last", priority="low")
    async def last(ctx):
        say("the worker goes on")
        os.kill(os.getpid(), signal.SIGTERM)

    with app.open_sync("jobs.db") as jobs:
        jobs.create("parent")
        jobs.create("last", delay=0.01)
    asyncio.run(work(app, "jobs.db", concurrency=1, lease=15, grace=10))
    """
    )
    assert (code, said) == (0, ["[1, 2]", "refused True", "refused True", "the worker goes on"]), error


KINDS = ["plain", "async", "plain on the loop's await"]
ENDS = {
    "return": ("return 'of the child'", 0, ""),
    "exit": ("sys.exit(7)", 7, ""),
    "exit without a code": ("sys.exit()", 0, ""),
    "exit with a word": ("sys.exit('over and out')", 1, "over and out"),
    "error": ("raise ValueError('in the child')", 1, "ValueError: in the child"),
}
FORKS = """
    async def main():
        async with app.open("jobs.db") as jobs:
            worker = asyncio.ensure_future(jobs.run())
            run = await jobs.create("forks", max_attempts=1)
            status = await jobs.wait(run.kumofire_job_run_id, timeout=600)
            say(status.state, status.result)
            for _ in range(3):
                run = await jobs.create("child")
                say((await jobs.wait(run.kumofire_job_run_id, timeout=600)).state)
            jobs.stop()
            await worker

    asyncio.run(main())
    say("left")
"""


@needs_fork
@pytest.mark.parametrize(("kind", "how"), sliced(list(product(KINDS, ENDS)), 3))
def test_a_child_that_comes_out_of_a_handler_ends_there_as_a_program_does(
    play: Play, kind: str, how: str
) -> None:
    ends, exit_code, told = ENDS[how]
    head = "async def" if kind == "async" else "def"
    body = f"""
    @app.job("forks")
    {head} forks(ctx):
        if (pid := os.fork()) == 0:
            print("flushed")
            {ends}
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """
    if kind == "plain on the loop's await":
        body = f"""
    async def inside():
        if (pid := os.fork()) == 0:
            print("flushed")
            {ends}
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    app.job("forks")(lambda ctx: inside())
    """
    code, said, error = play(body + FORKS)
    assert (code, said) == (0, ["flushed", f"succeeded {exit_code}", *["succeeded"] * 3, "left"]), error
    assert told in error
    assert ("Traceback" in error) == (how == "error"), error


@needs_fork
@pytest.mark.parametrize("before", ["", "await asyncio.sleep(0)"], ids=["at once", "after it has waited"])
def test_a_child_of_an_async_handler_does_not_wait_on_the_loop_of_its_parent(play: Play, before: str) -> None:
    code, said, error = play(
        f"""
    @app.job("forks")
    async def forks(ctx):
        {before or "pass"}
        if (pid := os.fork()) == 0:
            await asyncio.sleep(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """
        + FORKS
    )
    assert (code, said) == (0, ["succeeded 1", *["succeeded"] * 3, "left"]), error
    assert "a child that an async handler forked cannot await" in error


# -- the end of a program -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "held",
    [
        "opening = app.open_sync('jobs.db'); jobs = opening.__enter__()",
        "jobs = app.open_sync('jobs.db').__enter__()",
        "stack = ExitStack(); jobs = stack.enter_context(app.open_sync('jobs.db'))",
    ],
    ids=["held", "only its API", "ExitStack"],
)
@pytest.mark.parametrize(
    "ends", ["", "raise ZeroDivisionError", "sys.exit(1)"], ids=["ends", "raises", "exits"]
)
def test_what_is_opened_and_never_closed_is_closed_at_the_end(play: Play, held: str, ends: str) -> None:
    code, said, error = play(f"""
    @app.lifespan
    async def lifespan(jobs):
        yield
        say("shut down")

    {held}
    say(jobs.create("child").is_new)
    {ends}
    """)
    assert (code, said) == (1 if ends else 0, ["True", "shut down"]), error


def test_a_worker_in_a_thread_that_the_program_leaves_gives_its_runs_back_at_the_end(play: Play) -> None:
    code, said, error = play("""
    begun = threading.Event()

    @app.job("long")
    async def long(ctx):
        begun.set()
        await asyncio.sleep(300)

    jobs = app.open_sync("jobs.db").__enter__()
    threading.Thread(target=jobs.run, daemon=True).start()
    say(jobs.create("long", max_attempts=1).is_new)
    begun.wait()
    """)
    assert (code, said) == (0, ["True"]), error
    code, said, error = play("""
    with app.open_sync("jobs.db") as jobs:
        (run,) = jobs.list_runs().runs
        say(run.state, run.attempt, run.history[-1].event)
    """)
    assert (code, said) == (0, ["queued 0 release"]), error


@pytest.mark.parametrize("how", ["open", "open_sync"])
def test_the_end_of_the_main_thread_costs_no_attempt(play: Play, how: str) -> None:
    """From then on no executor of Python's takes work; the worker's own threads do."""
    code, said, error = play(f"""
    @app.job("plain", max_attempts=1)
    def plain(ctx):
        say("called")

    async def work():
        async with app.open("jobs.db") as jobs:
            run = await jobs.create("plain", delay=1)
            worker = asyncio.ensure_future(jobs.run())
            await jobs.wait(run.kumofire_job_run_id, timeout=600)
            jobs.stop()
            await worker

    def run():
        threading.main_thread().join()
        while threading._main_thread.is_alive():
            time.sleep(0.01)
        if {how!r} == "open":
            asyncio.run(work())
        else:
            with app.open_sync("jobs.db") as jobs:
                run = jobs.create("plain", delay=1)
                threading.Thread(target=jobs.run).start()
                jobs.wait(run.kumofire_job_run_id, timeout=600)
        say("the worker has ended")

    threading.Thread(target=run).start()
    """)
    assert (code, said) == (0, ["called", "the worker has ended"]), error
    code, said, error = play("""
    with app.open_sync("jobs.db") as jobs:
        (run,) = jobs.list_runs().runs
        say(run.state, run.attempt, run.history[-1].event)
    """)
    assert (code, said) == (0, ["succeeded 1 succeed"]), error


# -- what ends the main thread's program, on the loop of open_sync -----------------------------------

LEAVES = """
    @app.job("exits", max_attempts=1)
    async def exits(ctx):
        async def leave():
            sys.exit(3)

        {leave}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return 1

    with app.open_sync("jobs.db") as jobs:
        worker = threading.Thread(target=jobs.run)
        worker.start()
        status = jobs.wait(jobs.create("exits").kumofire_job_run_id, timeout=600)
        say(status.state, status.error_type)
        say(jobs.wait(jobs.create("child").kumofire_job_run_id, timeout=600).state)
        jobs.stop()
        worker.join()
"""


@pytest.mark.parametrize(
    ("leave", "state"),
    [
        ("raise KeyboardInterrupt", "failed KeyboardInterrupt"),
        ("asyncio.create_task(leave())", "succeeded None"),
        ("asyncio.get_running_loop().call_soon(sys.exit, 3)", "succeeded None"),
        ("asyncio.get_running_loop().stop()", "succeeded None"),
    ],
    ids=["a handler", "its task", "a callback", "the loop's stop"],
)
def test_what_is_to_end_the_program_ends_no_loop_in_a_thread(play: Play, leave: str, state: str) -> None:
    code, said, error = play(LEAVES.format(leave=leave))
    assert (code, said) == (0, [state, "succeeded"]), error
    assert ("got out on the event loop of open_sync" in error) == ("exit" in leave or "leave" in leave), error


def test_a_lifespan_that_exits_ends_the_program_that_opens(play: Play) -> None:
    code, said, error = play("""
    @app.lifespan
    async def lifespan(jobs):
        sys.exit(3)
        yield

    with app.open_sync("jobs.db") as jobs:
        say("opened")
    """)
    assert (code, said) == (3, []), error


def test_who_waits_for_a_loop_that_stands_still_hears_of_it_and_so_does_its_end(play: Play) -> None:
    code, said, error = play("""
    opening = app.open_sync("jobs.db")
    jobs = opening.__enter__()
    opening._over = True  # as if its thread had died
    opening._loop.call_soon_threadsafe(opening._loop.stop)
    opening._thread.join()
    for call in (lambda: jobs.create("child"), lambda: opening.__exit__(None, None, None)):
        try:
            call()
        except StoreError as exc:
            say("does not run any more" in str(exc))
    """)
    assert (code, said) == (0, ["True", "True"]), error


# -- a call that is interrupted ---------------------------------------------------------------------

INTERRUPTED = """
    class Interrupt(Exception):
        pass

    def interrupt(*_):
        raise Interrupt

    signal.signal(signal.SIGUSR1, interrupt)

    def interrupted(call):
        try:
            call()
        except Interrupt:
            say("interrupted")

    def strike():
        os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.parametrize("error", ["Exception", "TimeoutError", "KeyboardInterrupt"])
def test_a_worker_whose_run_is_interrupted_ends_in_order_and_may_begin_again(play: Play, error: str) -> None:
    code, said, errors = play(
        INTERRUPTED.replace("(Exception)", f"({error})")
        + """
    @app.job("long")
    async def long(ctx):
        if ctx.attempt == 1 and not again:
            strike()
            await asyncio.sleep(0.1)  # it finishes within the worker's grace
            say("finished")

    again = []
    with app.open_sync("jobs.db") as jobs:
        run = jobs.create("long").kumofire_job_run_id
        interrupted(jobs.run)
        say(jobs.get_status(run).state)
        left = jobs.create("child").kumofire_job_run_id
        say(jobs.get_status(left).state)

        @app.on("succeed", job="child")
        async def hook(transition):
            strike()

        interrupted(jobs.run)
        say(jobs.get_status(left).state)
    """
    )
    wanted = ["finished", "interrupted", "succeeded", "queued", "interrupted", "succeeded"]
    assert (code, said) == (0, wanted), errors


def test_a_second_interrupt_ends_the_grace_of_a_worker(play: Play) -> None:
    code, said, error = play(
        INTERRUPTED
        + """
    @app.job("long", max_attempts=1)
    async def long(ctx):
        strike()
        asyncio.get_running_loop().call_later(0.2, strike)
        await asyncio.sleep(300)

    with app.open_sync("jobs.db") as jobs:
        run = jobs.create("long").kumofire_job_run_id
        interrupted(lambda: jobs.run(grace=300))
    with app.open_sync("jobs.db") as jobs:
        say(jobs.get_status(run).state)
    """
    )
    assert (code, said) == (0, ["interrupted", "queued"]), error


def test_a_wait_that_is_interrupted_or_cancelled_leaves_no_task_on_the_loop(play: Play) -> None:
    code, said, error = play(
        INTERRUPTED
        + """
    with app.open_sync("jobs.db") as jobs:
        before = len(asyncio.all_tasks(jobs._loop))
        run = jobs.create("child", delay=9999).kumofire_job_run_id
        for _ in range(3):
            threading.Timer(0.1, strike).start()
            interrupted(lambda: jobs.wait(run))
        while len(asyncio.all_tasks(jobs._loop)) > before:
            time.sleep(0.01)
        say("none is left")

        @app.job("far")
        def far(ctx):
            async def inside():
                for _ in range(3):
                    try:
                        await asyncio.wait_for(ctx.jobs.wait(run), 0.01)
                    except TimeoutError:
                        say("timed out")
                while any("Jobs.wait" in str(task) for task in asyncio.all_tasks(jobs._loop)):
                    await asyncio.sleep(0.01)

            asyncio.run(inside())
            free.set()

        free = threading.Event()
        worker = threading.Thread(target=jobs.run)
        worker.start()
        jobs.create("far")
        say(free.wait(50))
        jobs.stop()
        worker.join()
    """
    )
    wanted = [*["interrupted"] * 3, "none is left", *["timed out"] * 3, "True"]
    assert (code, said) == (0, wanted), error


# -- a worker whose event loop has stopped ----------------------------------------------------------


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "standing still"])
def test_a_worker_whose_loop_has_stopped_keeps_no_other_loop_from_closing(play: Play, closed: bool) -> None:
    """What it left on a loop that is closed is over; on one that stands still it ends when that goes on."""
    code, said, error = play(f"""
    one, two, opening = asyncio.new_event_loop(), asyncio.new_event_loop(), app.open("jobs.db")
    jobs = one.run_until_complete(opening.__aenter__())

    async def work():
        worker = asyncio.ensure_future(jobs.run(grace=0))
        run = (await jobs.create("child")).kumofire_job_run_id
        say((await jobs.wait(run, timeout=600)).state)
        return worker

    left = one.run_until_complete(work())
    if {closed}:
        one.close()
        worker = two.run_until_complete(work())
        jobs.stop()
        two.run_until_complete(worker)
    else:
        try:
            two.run_until_complete(jobs.run())
        except KumofireError as exc:
            say(exc)
    two.run_until_complete(opening.__aexit__(None, None, None))
    say("closed")
    if not {closed}:
        try:
            one.run_until_complete(left)
        except StoreError as exc:
            say(exc)
    """)
    worked = ["succeeded", "succeeded", "closed"]
    left = ["succeeded", "this database's worker runs already in this process", "closed"]
    assert (code, said) == (0, worked if closed else [*left, "the database is closed"]), error
