"""What is kept of an error: one short line, then its traceback as Python prints it.

The values that pydantic refused are left out: what is stored and logged names the field and the rule.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb
from typing import Any, Final, cast

from kumofire_fsm.errors import StoreError
from kumofire_fsm.values.jsontext import cut_middle, first_line
from kumofire_fsm.values.limits import ERROR_BYTES, ERROR_LINE, KEY_LENGTH
from kumofire_fsm.values.printable import one_line, printable

__all__ = [
    "class_name",
    "error_line",
    "error_name",
    "error_text",
    "fault_text",
    "first_refusal",
    "leaves",
    "logged",
    "text_of",
]

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_BETWEEN: Final = (
    str(Path(concurrent.futures.__file__).parent) + os.sep,
    str(Path(importlib.__file__).parent) + os.sep,
    "<frozen importlib",
)
"""What stands between a worker and a handler, and says nothing of either."""
_HIDDEN: Final = (_PACKAGE, *_BETWEEN)
_AROUND: Final = ("asyncio", "click", "contextlib", "typer")
"""What stands between a command and an application, beside that."""
_MOST_NODES: Final = 500
"""Exceptions that are printed with all that caused them."""
_MOST_FRAMES: Final = 1000
_APPLICATIONS: Final = ("value_error", "assertion_error")
"""Rules whose words are the application's own."""
_NAME: Final = type.__dict__["__name__"]
_SHOWN: Final = 15
"""How many exceptions of a group Python prints, and how many refused fields are named."""


def error_text(exc: BaseException, *, ours: bool = False) -> str:
    """Return an error's line, then its traceback, together at most ``ERROR_BYTES``, cut in the middle.

    Args:
        exc: the error.
        ours: whether frames of this package are shown too: where it may be our own fault.
    """
    line = error_line(exc)
    try:
        trace = "".join(_traceback(exc, () if ours else _HIDDEN)).rstrip("\n")
    except BaseException as broken:  # see `text_of`
        trace = f"<its traceback could not be made: {class_name(broken)}>"
    says_more = trace.partition(": ")[2] != line.partition(": ")[2] or "\n" in trace
    return cut_middle(f"{line}\n{trace}" if says_more else line, ERROR_BYTES)


def error_name(text: str) -> str:
    """Return the exception's name with which an error's text begins."""
    return first_line(text, KEY_LENGTH).partition(": ")[0]


def fault_text(exc: BaseException) -> str:
    """Return the traceback of an application's fault as a command shows it: without the way to it."""
    found = (sys.modules.get(name) for name in _AROUND)
    files = [Path(module.__file__) for module in found if module is not None and module.__file__]
    around = (str(file.parent) + os.sep if file.stem == "__init__" else str(file) for file in files)
    hidden = (*_HIDDEN, *around)
    if not isinstance(exc, SyntaxError) and not _frames(exc, _MOST_FRAMES, hidden):
        hidden = ()  # nothing of the application: the fault is our own
    return printable("".join(_traceback(exc, hidden)).rstrip("\n"))


def error_line(exc: BaseException) -> str:
    """Return an error on one short line; of a group of one, what it holds."""
    found = list(leaves(exc))
    if len(found) == 1:
        return _short(_said(found[0]))
    inside = "; ".join(dict.fromkeys(_said(each) for each in found[:_SHOWN]))
    return _short(f"{_said(exc)}: {inside}")


def logged(exc: BaseException, *, ours: bool = False) -> str:
    """Return an error's text as a log shows it; ``exc_info`` would also tell the values that were refused."""
    return printable(error_text(exc, ours=ours))


def text_of(exc: BaseException) -> str:
    """Return what an error says.

    An application's own __str__ may itself fail, by whatever it raises: that is no request to end.
    """
    try:
        return _refusals(exc) if _is_pydantics(exc) else str(exc)
    except BaseException as broken:
        return f"<its text could not be made: {class_name(broken)}>"


def first_refusal(exc: BaseException) -> str:
    """Return the first field that pydantic refused, and by which rule, without the value; else nothing."""
    if not _is_pydantics(exc):
        return ""
    first = cast("Any", exc).errors(include_url=False)[0]
    return f"field {'.'.join(map(str, first['loc']))!r}: {_rule(first)}"


def _said(exc: BaseException) -> str:
    text = text_of(exc).strip().split("\n", 1)[0]
    return f"{class_name(exc)}: {text}" if text else class_name(exc)


def class_name(exc: BaseException) -> str:
    """Return the name of an error's class; a metaclass may give another one, or raise."""
    return str(_NAME.__get__(type(exc)))


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= ERROR_LINE else f"{text[: ERROR_LINE - 1]}\N{HORIZONTAL ELLIPSIS}"


# -- tracebacks --------------------------------------------------------------------------------------


def _traceback(exc: BaseException, hidden: tuple[str, ...]) -> Iterator[str]:
    if _count(exc) > _MOST_NODES:
        yield from _alone(exc, hidden)
        return
    root = TracebackException(type(exc), exc, None)  # the frames are added below, without ours
    left, frames = deque([(root, exc)]), _MOST_FRAMES
    while left:
        node, of = left.popleft()
        stack = _frames(of, frames, hidden)
        frames -= len(stack)
        node.stack = StackSummary.from_list(stack) if stack else None  # type: ignore[assignment]
        if _is_pydantics(of):
            node._str = text_of(of)  # type: ignore[attr-defined]
        if isinstance(of, StoreError) and hidden:
            node.__cause__ = None  # the driver's error, which ours has translated
        beneath = [(node.__cause__, of.__cause__), (node.__context__, of.__context__)]
        if isinstance(of, BaseExceptionGroup):
            beneath += zip(node.exceptions or (), of.exceptions, strict=False)
        left += [(each, its) for each, its in beneath if each is not None and its is not None]
    yield from root.format()


def _count(exc: BaseException) -> int:
    """Return how many exceptions would be printed, as far as it matters."""
    left, number, chained = [exc], 0, set[int]()
    while left and number <= _MOST_NODES:
        each = left.pop()
        number += 1
        for other in (each.__cause__, each.__context__):
            if other is not None and id(other) not in chained:
                chained.add(id(other))
                left.append(other)
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
    return number


def _alone(exc: BaseException, hidden: tuple[str, ...]) -> Iterator[str]:
    """Yield an error and the first that it holds, each without what caused it."""
    found = islice((each for each in leaves(exc) if each is not exc), _SHOWN)
    for each in (*found, exc):
        yield from StackSummary.from_list(_frames(each, _MOST_FRAMES // _SHOWN, hidden)).format()
        yield f"{class_name(each)}: {text_of(each)}\n"
    yield "... [there are very many exceptions: not all are shown, nor what caused them]\n"


def _frames(exc: BaseException, most: int, hidden: tuple[str, ...]) -> list[FrameSummary]:
    found = extract_tb(exc.__traceback__, limit=-most) if most > 0 else ()
    return [frame for frame in found if not frame.filename.startswith(hidden)]


# -- pydantic ----------------------------------------------------------------------------------------


def _is_pydantics(exc: BaseException) -> bool:
    core: Any = sys.modules.get("pydantic_core")  # importing it costs 0.1 s
    return core is not None and isinstance(exc, core.ValidationError)


def _refusals(exc: Any) -> str:
    """Return the fields that pydantic refused, and by which rules, without what was found there."""
    errors = exc.errors(include_url=False)
    told = [f"{_place(each['loc'])}{_rule(each)} ({each['type']})" for each in errors[:_SHOWN]]
    more = [f"and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
    return f"{exc.title}: {'; '.join([*told, *more])}"


def _place(location: tuple[int | str, ...]) -> str:
    path = ".".join(str(part)[:50] for part in location)
    return f"{path}: " if path else ""


def _rule(error: Any) -> str:
    """Return a rule as pydantic says it, without the value, which some say too."""
    if error["type"] == "union_tag_invalid":
        return f"Input tag does not match any of the expected tags: {error['ctx']['expected_tags']}"
    text, found = str(error["msg"]), error["input"]
    if error["type"] in _APPLICATIONS and isinstance(found, (str, int, float)) and len(str(found)) > 3:
        return text.replace(str(found), "...")
    return text


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """Yield what an exception group holds, at any depth, each once; else the exception itself."""
    left, seen = [exc], set[int]()
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, BaseExceptionGroup):
            left += reversed(each.exceptions)
        else:
            yield each
