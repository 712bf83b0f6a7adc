"""The arithmetic of waiting before another attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes import SeededEntropy

from kumofire_fsm import NEVER, Backoff, DefinitionError, InvalidArgument
from kumofire_fsm.retry import backoff_ms

SECOND = timedelta(seconds=1)


def waits(policy: Backoff, attempts: int, error: BaseException | None = None) -> list[int | None]:
    entropy = SeededEntropy()
    return [backoff_ms(policy, n, error or ValueError(), entropy) for n in range(1, attempts + 1)]


def test_the_full_wait_doubles_up_to_its_cap() -> None:
    assert waits(Backoff(jitter=False), 13) == [
        2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_024_000, 2_048_000, 3_600_000, 3_600_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Backoff(first=SECOND, factor=1, jitter=False), [1000, 1000, 1000]),
        (Backoff(first=SECOND, factor=1.5, jitter=False), [1000, 1500, 2250]),
        (Backoff(first=SECOND, factor=10, cap=SECOND * 50, jitter=False), [1000, 10_000, 50_000]),
        (Backoff(first=SECOND, cap=SECOND, jitter=False), [1000, 1000, 1000]),
        (Backoff(first=timedelta(0), jitter=False), [0, 0, 0]),
        (Backoff(first=timedelta(0), cap=timedelta(0)), [0, 0, 0]),
    ],
)
def test_first_factor_and_cap(policy: Backoff, expected: list[int]) -> None:
    assert waits(policy, 3) == expected


@pytest.mark.parametrize("attempt", [100, 1_024, 2_000, 1_000_000, 2**62])
@pytest.mark.parametrize("factor", [2.0, 2, 10**400])
def test_a_huge_attempt_waits_for_the_cap(attempt: int, factor: float) -> None:
    """A power of integers would not end for what may stand in a row."""
    assert Backoff(factor=factor, jitter=False).delay_ms(attempt, ValueError(), SeededEntropy()) == 3_600_000


def test_jitter_is_the_seeds_part_of_the_full_wait() -> None:
    entropy = SeededEntropy(3)
    parts = [entropy.random() for _ in range(5)]
    policy, again = Backoff(), SeededEntropy(3)
    assert [policy.delay_ms(n, ValueError(), again) for n in range(1, 6)] == [
        int(part * 2000 * 2 ** (n - 1)) for n, part in enumerate(parts, 1)
    ]


def test_jitter_spreads_over_the_whole_wait() -> None:
    entropy = SeededEntropy()
    found = [Backoff().delay_ms(3, ValueError(), entropy) for _ in range(2000)]
    assert 0 <= min(found) < 100
    assert 7_900 < max(found) < 8_000
    assert 3_800 < sum(found) / len(found) < 4_200


def test_the_first_exception_that_matches_decides_also_by_subclass() -> None:
    slow = Backoff(first=SECOND * 30, jitter=False)
    policy = Backoff(jitter=False, on={KeyError: NEVER, LookupError: SECOND * 5, OSError: slow})
    assert waits(policy, 2, KeyError()) == [None, None]
    assert waits(policy, 2, IndexError()) == [5_000, 5_000]
    assert waits(policy, 2, ConnectionError()) == [30_000, 60_000]
    assert waits(policy, 2, ValueError()) == [2_000, 4_000]


def test_a_function_decides_in_seconds_or_timedeltas() -> None:
    entropy = SeededEntropy()
    assert backoff_ms(lambda attempt, error: attempt * 1.5, 2, ValueError(), entropy) == 3_000
    assert backoff_ms(lambda attempt, error: SECOND, 2, ValueError(), entropy) == 1_000
    assert backoff_ms(lambda attempt, error: NEVER, 2, ValueError(), entropy) is None
    for bad in (-1, "1", float("nan")):
        with pytest.raises(InvalidArgument):
            backoff_ms(lambda attempt, error, bad=bad: bad, 1, ValueError(), entropy)


@pytest.mark.parametrize(
    "options",
    [
        {"first": -SECOND},
        {"factor": 0.5},
        {"first": SECOND * 2, "cap": SECOND},
        {"factor": float("nan")},
        {"on": {KeyError: timedelta.max}},
        {"on": {KeyError: -SECOND}},
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused(options: dict) -> None:
    with pytest.raises(DefinitionError):
        Backoff(**options)
