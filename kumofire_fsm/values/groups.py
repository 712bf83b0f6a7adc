"""Exception groups, taken apart."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["leaves"]


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
