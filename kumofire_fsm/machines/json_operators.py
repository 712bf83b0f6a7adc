"""Operators on JSON texts, as flows need them: lists of keys and letters, and facts of a history.

Each does the same in Python and in SQLite for compact JSON texts, as the package writes them.
"""

from __future__ import annotations

import json
from typing import Any, Final

from kumofire_fsm.values.limits import KEPT_KEYS

__all__ = [
    "added",
    "added_sql",
    "contains",
    "contains_sql",
    "noted",
    "noted_sql",
    "posted",
    "posted_sql",
    "size",
    "size_sql",
    "without",
    "without_sql",
]

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def contains(texts: Any, text: Any) -> int:
    """Return whether a list of texts contains one; no text is in no list."""
    return int(text is not None and texts is not None and text in json.loads(texts))


def contains_sql(texts: str, text: str) -> str:
    """Say `contains` in SQL."""
    return f"EXISTS (SELECT 1 FROM json_each({texts}) AS k WHERE k.value = {text})"


def added(texts: Any, text: Any) -> str | None:
    """Return a list with a text more; over the cap, without the oldest."""
    if texts is None:
        return None
    known = json.loads(texts)
    return _ENCODER.encode([*known[1 if len(known) >= KEPT_KEYS else 0 :], text])


def added_sql(texts: str, text: str) -> str:
    """Say `added` in SQL."""
    oldest = f"iif(json_array_length({texts}) >= {KEPT_KEYS}, '$[0]', '$.none')"
    return f"json_insert(json_remove({texts}, {oldest}), '$[#]', {text})"


def size(values: Any) -> int | None:
    """Return how many values a list has."""
    return None if values is None else len(json.loads(values))


def size_sql(values: str) -> str:
    """Say `size` in SQL."""
    return f"json_array_length({values})"


def posted(mail: Any, number: Any, name: Any, value: Any) -> str | None:
    """Return a list of letters with one more, ``[number, name, value]``; the value is JSON, or None."""
    if mail is None:
        return None
    letter = f"[{_ENCODER.encode(number)},{_ENCODER.encode(name)},{'null' if value is None else value}]"
    return f"{mail[:-1]}{',' if len(mail) > 2 else ''}{letter}]"


def posted_sql(mail: str, number: str, name: str, value: str) -> str:
    """Say `posted` in SQL."""
    letter = f"json_array({number}, {name}, json(coalesce({value}, 'null')))"
    return f"json_insert({mail}, '$[#]', {letter})"


def without(mail: Any, number: Any) -> str | None:
    """Return a list of letters without the one of that number; whole where the number is None."""
    if mail is None or number is None:
        return mail if isinstance(mail, str) else None
    return _ENCODER.encode([letter for letter in json.loads(mail) if letter[0] != number])


def without_sql(mail: str, number: str) -> str:
    """Say `without` in SQL."""
    rest = (
        f"SELECT json_group_array(json(k.value)) FROM json_each({mail}) AS k WHERE k.value ->> 0 <> {number}"
    )
    return f"CASE WHEN {number} IS NULL OR {mail} IS NULL THEN {mail} ELSE ({rest}) END"


def noted(facts: Any, step: Any) -> str:
    """Return the facts of a history's entry, which are JSON or None, with the step that was entered."""
    return json.dumps({**json.loads(facts or "{}"), "step": step}, separators=(",", ":"))


def noted_sql(facts: str, step: str) -> str:
    """Say `noted` in SQL."""
    return f"json_set(coalesce({facts}, '{{}}'), '$.step', {step})"
