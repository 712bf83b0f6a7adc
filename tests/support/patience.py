"""The one way to wait for what is certain to come, on a machine of any speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

__all__ = ["SECONDS_MAX", "until"]

T = TypeVar("T")

SECONDS_MAX: Final = 600
"""After so long a test gives up. It says nothing about speed, so it fits a machine that does other work."""


def until(found: Callable[[], T], told: Callable[[], object] = str) -> T:
    """Return what was asked for as soon as it is there; else fail, with what is told at the end."""
    end = time.monotonic() + SECONDS_MAX
    while not (answer := found()):
        if time.monotonic() > end:
            pytest.fail(f"after {SECONDS_MAX} s it is not there yet: {told()}")
        time.sleep(0.02)
    return answer
