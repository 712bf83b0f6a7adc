"""The storage port over a Cloudflare D1 binding.

Takes the binding as the Workers SDK wraps it and the raw JavaScript proxy alike. Each of our statements
binds one JSON text, because every other conversion between Python and JavaScript has a trap.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from kumofire_fsm.adapters.d1_errors import translate
from kumofire_fsm.errors import BindingError, StoreOverloaded, TransientStoreError
from kumofire_fsm.observer import Observer
from kumofire_fsm.ports import Row, Statement

__all__ = ["D1Storage"]

TRIES: Final = 3
FIRST_PAUSE_S: Final = 0.1


class D1Storage:
    """A D1 database.

    Args:
        binding: ``env.JOBS_DB``, wrapped by the SDK or raw.
        name: what the binding is called, for errors.
        observer: is told how many rows each statement has read and written, as D1 counts and bills them.

    Attributes:
        repeats: asked after a passing fault whether so many statements may be sent once more.

    Raises:
        BindingError: it is not a D1 binding.
    """

    def __init__(self, binding: Any, name: str = "", *, observer: Observer | None = None) -> None:
        if binding is None or not (hasattr(binding, "prepare") and hasattr(binding, "batch")):
            raise BindingError(
                f"a D1 binding is needed, with prepare() and batch(); found {type(binding).__name__}; is the "
                f'database in "d1_databases" of wrangler.jsonc with the binding {name or "used here"}?'
            )
        self._binding = binding
        self.repeats: Callable[[int], bool] = lambda _statements: True
        self._rows = observer.rows if observer is not None and observer.watches else None

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        result = await self._patiently(lambda: self._prepared(statement).all(), [statement])
        return self._answer(result, statement.columns)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        if len(statements) == 1:
            return [await self.execute(statements[0])]
        results = await self._patiently(
            lambda: self._binding.batch(_array([self._prepared(each) for each in statements])), statements
        )
        return [self._answer(r, s.columns) for r, s in zip(list(results), statements, strict=True)]

    def _answer(self, result: Any, columns: Sequence[str]) -> list[Row]:
        """Return the rows of a D1 result; by name, because a row is an object."""
        if not columns and self._rows is None:
            return []
        if hasattr(result, "to_py"):
            result = result.to_py()
        if self._rows is not None:
            meta = result["meta"]
            self._rows(*(int(meta.get(name) or 0) for name in ("rows_read", "rows_written")))
        rows = result["results"] if columns else ()
        return [tuple(_value(row[column]) for column in columns) for row in rows]

    def _prepared(self, statement: Statement) -> Any:
        prepared = self._binding.prepare(statement.sql)
        argument = statement.given()
        values = statement.parameters if argument is None else (argument,)
        return prepared.bind(*(_null() if each is None else each for each in values)) if values else prepared

    async def _patiently(self, send: Callable[[], Awaitable[Any]], statements: Sequence[Statement]) -> Any:
        """Send, and again after a passing fault, but only what may be run twice."""
        idempotent, pause = all(each.reads or each.idempotent for each in statements), FIRST_PAUSE_S
        for tries_left in reversed(range(TRIES)):
            try:
                return await send()
            except Exception as exc:
                error = translate(exc)
                hopeless = not isinstance(error, TransientStoreError) or isinstance(error, StoreOverloaded)
                if hopeless or not idempotent or not tries_left or not self.repeats(len(statements)):
                    raise error from exc
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2
        raise AssertionError


def _value(value: Any) -> Any:
    """Return a cell; a raw proxy gives JavaScript's null as an object of its own."""
    return None if value is None or type(value).__name__ == "JsNull" else value


def _array(items: list[Any]) -> Any:
    """Return a JavaScript array where there is JavaScript; the SDK takes a list, a raw binding does not."""
    try:
        from pyodide.ffi import JsProxy, to_js  # type: ignore[import-not-found]  # only inside Workers
    except ImportError:
        return items
    return to_js(items) if items and isinstance(items[0], JsProxy) else items


def _null() -> Any:
    """Return what binds as NULL: a raw proxy would turn None into undefined, which D1 refuses."""
    try:
        from pyodide.ffi import jsnull
    except ImportError:
        return None
    return jsnull
