"""Runs inside the runtime, before the Worker's own module: the import-time rules, and the delivery of events.

The value of its last expression is `start`, which boot.mjs calls.
"""

import contextlib
import importlib
import os
import random
import secrets  # noqa: F401 -- these modules may draw while they are imported; a deploy allows it
import tempfile  # noqa: F401
import uuid  # noqa: F401
from inspect import getattr_static, isawaitable, isfunction

from pyodide.code import relaxed_call

with contextlib.suppress(ImportError):
    # One draw is allowed for the hash maps of Rust; see the SDK's entropy patches.
    from pydantic_core import SchemaValidator

    SchemaValidator({"type": "any"})


@contextlib.contextmanager
def rules_of_import():
    """Refuse randomness, as a deploy does; timers and I/O are refused by workerd itself."""

    def refuse(*arguments, **options):
        raise RuntimeError("no randomness while a Worker is imported: draw it inside an event")

    names = ("random", "randbytes", "getrandbits", "randint", "randrange", "uniform", "choice", "shuffle")
    saved = [(os, "urandom", os.urandom), *((random, name, getattr(random, name)) for name in names)]
    system = random.SystemRandom
    saved += [(system, name, getattr(system, name)) for name in ("random", "randbytes", "getrandbits")]
    for owner, name, _ in saved:
        setattr(owner, name, refuse)
    try:
        yield
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)


def methods_of(entrypoint):
    """Return what a service binding may call: public functions, those of the base classes included."""
    names = (name for name in dir(entrypoint) if not name.startswith("_"))
    return [name for name in names if isfunction(getattr_static(entrypoint, name))]


def start(modules, mark):
    """Import modules in order, the Worker's own last; return the function that delivers events to it.

    ``mark`` is told each name before its import, and "" at the end.
    """
    with rules_of_import():
        for name in modules:
            mark(name)
            module = importlib.import_module(name)
    mark("")
    seeded = False

    async def deliver(ctx, env, handler, values):
        nonlocal seeded
        if not seeded:
            random.seed()  # what was drawn while booting is a constant
            seeded = True
        from workers import python_from_rpc, python_to_rpc

        method = getattr(module.Default(ctx, env), handler)
        arguments = [python_from_rpc(value) for value in values]
        outcome = relaxed_call(method, *arguments) if handler == "fetch" else method(*arguments)
        return python_to_rpc(await outcome if isawaitable(outcome) else outcome)

    deliver.methods = methods_of(module.Default)
    return deliver


start  # noqa: B018
