"""When to try again: exponential backoff with full jitter, or a function of the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.ports import Entropy
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms

__all__ = ["NEVER", "Backoff", "RetryPolicy", "backoff_ms"]


def _never(_attempt: int, _error: BaseException) -> None:
    """Give no time at all."""


NEVER: Final = _never
"""A policy, or a rule in `Backoff.on`, by which a run fails at once."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Wait a random part of an exponentially growing time.

    Full jitter: the wait is uniform between 0 and ``first * factor ** (attempt - 1)``, at most
    ``cap``; it spreads retries of many runs best
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        first: the longest wait before the second attempt (timedelta or seconds).
        factor: by what the wait grows each time.
        cap: the longest wait of all (timedelta or seconds).
        jitter: False to wait the full time, always.
        on: per exception type, the first that matches: another policy, a fixed time, or `NEVER`. Of an
            exception group, each exception that it holds is asked about.
    """

    first: timedelta | float = timedelta(seconds=2)
    factor: float = 2.0
    cap: timedelta | float = timedelta(hours=1)
    jitter: bool = True
    on: Mapping[type[BaseException], RetryPolicy | timedelta] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_rules(self.on)
        try:
            first, cap = duration_ms(self.first, "first"), duration_ms(self.cap, "cap")
        except InvalidArgument as exc:
            raise DefinitionError(f"of a backoff, {exc}") from exc
        factor: object = self.factor
        if cap < first or not isinstance(factor, (int, float)) or not factor >= 1:
            found = f"first={shown(self.first)}, cap={shown(self.cap)}, factor={shown(factor)}"
            raise DefinitionError(f"a backoff needs 0 <= first <= cap and factor >= 1; found {found}")

    def delay_ms(self, attempt: int, error: BaseException, entropy: Entropy) -> int | None:
        """Return how long to wait after the given attempt (from 1) failed; None for never."""
        for kind, rule in self.on.items():
            if isinstance(error, kind):
                if isinstance(rule, timedelta):
                    return duration_ms(rule, "a wait")
                return backoff_ms(rule, attempt, error, entropy)
        ceiling = float(duration_ms(self.cap, "cap"))
        try:
            # As floats: a power of integers grows without an end, and a row may hold any attempt.
            wait = duration_ms(self.first, "first") * float(self.factor) ** (attempt - 1)
        except OverflowError:
            wait = ceiling
        wait = min(wait, ceiling)
        return int(wait * entropy.random() if self.jitter else wait)


def _check_rules(rules: object) -> None:
    if not isinstance(rules, Mapping):
        raise DefinitionError(f"a backoff's on= maps exception types to policies; found {shown(rules)}")
    for kind, rule in rules.items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise DefinitionError(f"a backoff's on= names exception types; found {shown(kind)}")
        if issubclass(kind, BaseExceptionGroup):
            raise DefinitionError(
                f"a backoff's on= names {kind.__name__}, but is asked about each exception that a group "
                "holds: name those"
            )
        if isinstance(rule, timedelta):
            try:
                duration_ms(rule, f"the wait for {kind.__name__}")
            except InvalidArgument as exc:
                raise DefinitionError(f"of a backoff, {exc}") from exc
        elif not (isinstance(rule, Backoff) or callable(rule)):
            raise DefinitionError(
                f"a backoff's on= gives {kind.__name__} a policy, a timedelta or NEVER; found {shown(rule)}"
            )


RetryPolicy = Backoff | Callable[[int, BaseException], timedelta | float | None]
"""A `Backoff`, or a function of attempt (from 1) and error that gives the wait, or None for never."""


def backoff_ms(policy: RetryPolicy, attempt: int, error: BaseException, entropy: Entropy) -> int | None:
    """Return how long to wait in milliseconds; None when the policy says never."""
    if isinstance(policy, Backoff):
        return policy.delay_ms(attempt, error, entropy)
    wait: Any = policy(attempt, error)
    return None if wait is None or wait is NEVER else duration_ms(wait, "what the retry function returned")
