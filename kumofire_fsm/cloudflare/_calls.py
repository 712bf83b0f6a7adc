"""What other Workers call through a service binding: JSON in, JSON out, and errors with a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import wraps
from inspect import signature
from typing import Any, Final

import js  # type: ignore[import-not-found]  # Pyodide's
from pydantic_core import to_jsonable_python
from pyodide.ffi import create_once_callable, to_js  # type: ignore[import-not-found]
from workers import WorkerEntrypoint  # type: ignore[import-not-found]  # Cloudflare's SDK

from kumofire_fsm.errors import InvalidArgument, KumofireError, NotFound, TransientStoreError, TransitionError
from kumofire_fsm.models import CreateOptions
from kumofire_fsm.values.checks import check_options
from kumofire_fsm.values.printable import shown
from kumofire_fsm.work.bound import BoundJobs

__all__ = ["ServiceCalls"]

_CODES: Final = (
    (NotFound, "not_found"),
    (InvalidArgument, "invalid_argument"),
    (TransitionError, "conflict"),
    (TransientStoreError, "unavailable"),
    (KumofireError, "failed"),
)
"""What a caller may do about an error, by its class; the first that fits."""
_CREATE: Final = frozenset(CreateOptions.__annotations__)
_INSTANTS: Final = ("run_at", "expires_at")
_SAID: Final = frozenset({"by", "note"})
_SIGNAL: Final = _SAID | {"key"}

Call = Callable[..., Awaitable[Any]]


class _Refusal:
    """An error that a call ends with: the SDK answers with its ``js_object``, which rejects the promise.

    Raised in Python, it would arrive as a `PythonError` whose message is a traceback.
    """

    def __init__(self, exc: KumofireError) -> None:
        error = js.Error.new(str(exc))
        error.name = type(exc).__name__
        error.code = next(code for kind, code in _CODES if isinstance(exc, kind))
        then = create_once_callable(lambda _resolve, reject: reject(error))
        self.js_object = to_js({"then": then}, dict_converter=js.Object.fromEntries)


def _answers(call: Call) -> Call:
    """Return a method whose result is JSON, and whose errors a caller in JavaScript can tell apart."""
    takes = signature(call)

    @wraps(call)
    async def answer(*given: Any) -> Any:
        try:
            try:
                takes.bind(*given)
            except TypeError as exc:
                raise InvalidArgument(f"{call.__name__}: {exc}") from exc
            return to_jsonable_python(await call(*given), timedelta_mode="float")
        except KumofireError as exc:
            return _Refusal(exc)

    return answer


class ServiceCalls(WorkerEntrypoint):  # type: ignore[misc]
    """The methods of a service binding. Arguments that are left out, or null, are as if not given."""

    jobs: BoundJobs

    @_answers
    async def create(self, job: str, payload: Any = None, options: Any = None) -> Any:
        """Create a run: the options are those of `Jobs.create`, times as ISO texts. Gives its id."""
        given = _options("create", options, _CREATE)
        for name in _INSTANTS:
            if (text := given.get(name)) is not None:
                given[name] = _instant(name, text)
        return await self.jobs.create(job, payload, **given)

    @_answers
    async def status(self, run_id: str) -> Any:
        """Return a run as `Jobs.get_status` does; null where none has this id."""
        return await self.jobs.get_status(run_id)

    @_answers
    async def cancel(self, run_id: str, options: Any = None) -> Any:
        """Stop a run; options: ``by``, ``note``. Gives its status."""
        return await self.jobs.cancel(run_id, **_options("cancel", options, _SAID))

    @_answers
    async def signal(self, run_id: str, signal: str, value: Any = None, options: Any = None) -> Any:
        """Tell a flow's instance something; options: ``key``, ``by``, ``note``. Gives its status."""
        return await self.jobs.signal(run_id, signal, value, **_options("signal", options, _SIGNAL))


def _options(call: str, given: object, known: frozenset[str]) -> dict[str, Any]:
    """Return the options that are set.

    Raises:
        InvalidArgument: they are no object, or one is unknown.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"the options of {call} are an object; found {shown(given)}")
    check_options(call, given, known)
    return {name: value for name, value in given.items() if value is not None}


def _instant(name: str, text: object) -> datetime:
    try:
        return datetime.fromisoformat(text)  # type: ignore[arg-type]  # whatever came
    except (TypeError, ValueError) as exc:
        raise InvalidArgument(
            f"{name} must be an ISO time such as 2026-11-01T00:30:00Z; found {shown(text)}"
        ) from exc
