"""Runs one test of a suite: a plain coroutine function that takes the storage, and may take the meter or env."""

import importlib
import inspect
import traceback

import tables
from chosen_storage import D1Storage
from metered import MeteredD1


async def run_suite(env, module, test, *, form="metered"):
    """Run a test on fresh tables; return whether it passed, its traceback and what its statements cost.

    The storage gets the binding in one of its forms: "metered", "wrapped" by the SDK, or the "raw" proxy.
    """
    await tables.rebuild(env.JOBS_DB)
    meter = MeteredD1(env.JOBS_DB)
    forms = {"metered": meter, "wrapped": env.JOBS_DB, "raw": env._env.JOBS_DB}
    given = {"storage": D1Storage(forms[form]), "meter": meter, "env": env}
    function = getattr(importlib.import_module(module), test)
    try:
        await function(**{name: given[name] for name in inspect.signature(function).parameters})
    except Exception as exc:
        return {"ok": False, "error": repr(exc), "traceback": _told(exc, module), "calls": meter.calls}
    return {"ok": True, "error": None, "traceback": None, "calls": meter.calls}


def _told(exc, module):
    """Return the traceback, then the variables of the suite's innermost frame.

    Without pytest's rewriting a failed assert shows no values.
    """
    frames = [
        frame for frame, _ in traceback.walk_tb(exc.__traceback__) if frame.f_globals["__name__"] == module
    ]
    values = frames[-1].f_locals if frames else {}
    lines = [f"  {name} = {value!r:.500}\n" for name, value in values.items()]
    return "".join([*traceback.format_exception(exc), *lines])
