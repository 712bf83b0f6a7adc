"""What is noted of an attempt: the facts of a history's entry, and the text of an error."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any, Final

from kumofire_fsm.values.jsontext import cut
from kumofire_fsm.values.limits import ERROR_BYTES

__all__ = ["error_text", "json_facts", "text_of"]

_OURS: Final = {str(Path(__file__).parents[1] / "work" / name) for name in ("attempt.py", "driving.py")}
"""What stands between a worker and a handler in every traceback."""


def json_facts(**facts: Any) -> str:
    """Return what one entry of a history notes; in ASCII, so that its length is its size."""
    return json.dumps(facts, separators=(",", ":"))


def error_text(exc: BaseException) -> str:
    """Return the error on one line, then where it came from."""
    text = text_of(exc)
    said = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename not in _OURS]
    trace = "".join(traceback.format_list(frames))
    return cut(f"{said}\n{trace}" if trace else said, ERROR_BYTES)


def text_of(exc: BaseException) -> str:
    """Return what an error says; an application's own __str__ may itself fail."""
    try:
        return str(exc)
    except Exception as broken:
        return f"<its text could not be made: {type(broken).__name__}>"
