"""Which slice of a long proof is played: `make test` takes that of the commit, so that it can be repeated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

import pytest

__all__ = ["MORE", "SLICE", "examples", "part", "sliced"]

Each = TypeVar("Each")

SLICE: Final = int(os.environ.get("KUMOFIRE_SLICE", "0"))
MORE: Final = int(os.environ.get("KUMOFIRE_MORE", "1"))
"""How many times as many examples a long proof has; with more than one it leaves nothing out (`make proofs`)."""


def sliced(everything: Sequence[Each], parts: int) -> list[Each]:
    """Return one part of a proof's cases, another with each commit."""
    return list(everything if MORE > 1 else everything[SLICE % parts :: parts])


def part(number: int, parts: int) -> pytest.MarkDecorator:
    """Let a long test run with one commit of so many."""
    others = MORE == 1 and SLICE % parts != number
    return pytest.mark.skipif(others, reason="another commit runs it, and make proofs")


def examples(number: int) -> int:
    """Return how many examples a property is tried with."""
    return number * MORE
