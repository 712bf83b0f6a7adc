"""What is stored of an error: its text on one line, then where in the application it came from."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from kumofire_fsm.values.jsontext import cut
from kumofire_fsm.values.limits import ERROR_BYTES

__all__ = ["error_text", "text_of"]

_OURS: Final = str(Path(__file__).with_name("attempt.py"))
"""What stands between a worker and a handler in every traceback."""


def error_text(exc: BaseException) -> str:
    """Return the error on one line, then where it came from."""
    text = text_of(exc)
    said = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename != _OURS]
    trace = "".join(traceback.format_list(frames))
    return cut(f"{said}\n{trace}" if trace else said, ERROR_BYTES)


def text_of(exc: BaseException) -> str:
    """Return what an error says; an application's own __str__ may itself fail."""
    try:
        return str(exc)
    except Exception as broken:
        return f"<its text could not be made: {type(broken).__name__}>"
