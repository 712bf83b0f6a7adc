"""No regular expression of the package can take more than a few passes over its text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from re import _parser as parser  # type: ignore[attr-defined]

import pytest

import kumofire_fsm
from kumofire_fsm.adapters import d1_errors
from kumofire_fsm.errors import DailyLimitReached

PACKAGE = Path(kumofire_fsm.__file__).parent
FUNCTIONS = {"compile", "match", "search", "sub", "subn", "findall", "finditer", "split", "fullmatch"}
GIVEN = {"adapters/d1_errors.py": [pattern for pattern, _, _ in d1_errors._KINDS]}
"""Patterns that a call takes from a variable."""


def text_of(node: ast.expr) -> str | None:
    """Return a constant pattern; what an f-string takes from elsewhere is a letter."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return None


def patterns() -> Iterator[tuple[str, str]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr in FUNCTIONS
            ):
                text = text_of(node.args[0])
                found = GIVEN[name] if text is None else [text]
                yield from ((name, each) for each in found)


def repeats(pattern: str) -> Iterator[str]:
    """Yield what is repeated without a bound inside of what is, and could be divided in many ways."""

    def walk(items: object, inside: bool) -> Iterator[str]:
        for operator, argument in items:  # type: ignore[attr-defined]
            name = str(operator)
            if name in ("MAX_REPEAT", "MIN_REPEAT"):
                _, most, body = argument
                unbounded = most is parser.MAXREPEAT
                if unbounded and inside:
                    yield name
                yield from walk(body, inside or unbounded)
            elif name == "SUBPATTERN":
                yield from walk(argument[-1], inside)
            elif name == "BRANCH":
                for branch in argument[1]:
                    yield from walk(branch, inside)
            elif name in ("ASSERT", "ASSERT_NOT"):
                yield from walk(argument[1], inside)

    return walk(parser.parse(pattern), inside=False)


@pytest.mark.parametrize(("file", "pattern"), sorted(set(patterns())))
def test_no_pattern_repeats_what_repeats(file: str, pattern: str) -> None:
    re.compile(pattern)
    assert list(repeats(pattern)) == []


def test_the_pattern_that_took_ten_seconds_would_be_found() -> None:
    assert list(repeats(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(insert|update)\b")) == ["MAX_REPEAT", "MIN_REPEAT"]
    assert list(repeats(r"(a+)+")) == ["MAX_REPEAT"]


@pytest.mark.parametrize("word", ["daily ", "maximum ", "reset ", "SQLITE_", "long-running "])
def test_a_megabyte_of_what_d1_may_say_is_told_apart(word: str) -> None:
    """A search that scanned to the end from each of these words would take hours."""
    text = word * (2**20 // len(word))
    assert isinstance(d1_errors.translate(Exception(f"{text} free tier")), DailyLimitReached)
