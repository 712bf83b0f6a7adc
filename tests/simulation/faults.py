"""What goes wrong, and when: decided by the seed and by who is hit, and by nothing else.

Each decision is drawn from its own key (the actor, and which call of it), never from a stream that all
share. So leaving one fault out changes no other decision, and a failing history can be shrunk.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Dice", "Fault", "Faults", "Key"]

Key = tuple[int, ...]
_MASK = 2**64 - 1


class Fault(StrEnum):
    """One thing that goes wrong."""

    ERROR_BEFORE = "the database fails before the commit"
    ERROR_AFTER = "the database commits, and its answer is lost"
    CRASH_BEFORE = "the actor dies before the call"
    CRASH_AFTER = "the actor dies after the call took effect"
    CRASH_FLYING = "the actor dies; its call takes effect later"
    FREEZE = "the actor stands still for a while"
    SLOW = "the call takes long to take effect"
    LATE = "the answer takes long"
    REFUSED = "the queue refuses all"
    PARTLY = "the queue takes some, and refuses"
    DROP = "a message is lost"
    DOUBLE = "a message comes twice"
    DELAY = "a message comes late"
    MISSED = "a tick is missed"
    LATE_TICK = "a tick comes late"
    DOUBLE_TICK = "a tick comes twice"
    OLD_CODE = "an actor knows fewer jobs"
    LOCKED = "another program holds the write lock"
    UNRENEWED = "leases are not renewed"
    CLOCK_SET = "the clock is set"


STORAGE = (
    Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_FLYING,
    Fault.FREEZE, Fault.SLOW, Fault.LATE,
)  # fmt: skip
SENDING = (
    Fault.REFUSED, Fault.PARTLY, Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_FLYING, Fault.LATE,
)  # fmt: skip
SLEEPING = (Fault.CRASH_BEFORE, Fault.FREEZE)
MESSAGE = (Fault.DROP, Fault.DOUBLE, Fault.DELAY)
TICK = (Fault.MISSED, Fault.LATE_TICK, Fault.DOUBLE_TICK)
ACTOR = (Fault.OLD_CODE,)
LOCK = (Fault.LOCKED,)
RENEWAL = (Fault.UNRENEWED,)
CLOCK = (Fault.CLOCK_SET,)
_WEIGHTS = {
    **dict.fromkeys((Fault.REFUSED, Fault.PARTLY), 3.0),
    **dict.fromkeys((*MESSAGE, *TICK), 4.0),
}
"""What is seldom asked happens more often when it is."""
_PLACES = {STORAGE: 1, SENDING: 2, SLEEPING: 3, MESSAGE: 4, TICK: 5, ACTOR: 6, LOCK: 7, RENEWAL: 8, CLOCK: 9}


class Dice:
    """Random numbers by key: the same seed and key give the same number, in any order and process."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bits(self, *key: int) -> int:
        """Return 64 random bits."""
        x = hash((self.seed, *key)) & _MASK  # of integers only: the same whatever PYTHONHASHSEED says
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return x ^ (x >> 31)

    def roll(self, *key: int) -> float:
        """Return a number from 0 to below 1."""
        return (self.bits(*key) >> 11) / 2**53

    def below(self, bound: int, *key: int) -> int:
        """Return an integer from 0 to below ``bound``."""
        return self.bits(*key) % bound


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that happened: its key, by which it can be left out, and what it was."""

    key: Key
    fault: Fault


class Faults:
    """Decides the faults of one history.

    Each history has some kinds of faults only, each with a rate of its own: rare combinations of few
    faults show more than all of them everywhere.

    Args:
        dropped: keys of faults to leave out.
    """

    def __init__(self, dice: Dice, dropped: Collection[Key] = ()) -> None:
        self.dice, self.dropped = dice, frozenset(dropped)
        self.stopped = False
        self.struck: list[Struck] = []
        level = (0.0, 0.03, 0.06, 0.12)[dice.below(4, 100)]
        self.rates = {
            fault: level * _WEIGHTS.get(fault, 1.0) * (0.3 + 1.7 * dice.roll(101, i)) * dice.below(2, 102, i)
            for i, fault in enumerate(Fault)
        }
        # Whatever else goes wrong, and also where nothing does: a lock harms nobody.
        self.rates[Fault.LOCKED] = (0.0, 0.4, 0.8)[dice.below(3, 104)]
        # Often enough that a lease runs out whose holder lives, and that he gets the run back.
        self.rates[Fault.UNRENEWED] = (0.0, 0.0, 0.5, 0.9)[dice.below(4, 105)]
        self.rates[Fault.CLOCK_SET] = (0.0, 0.0, 0.5, 0.9)[dice.below(4, 106)]

    def strike(self, kinds: tuple[Fault, ...], *key: int, weight: float = 1.0) -> Fault | None:
        """Return what goes wrong at this place, if anything; ``weight`` makes it more likely."""
        if self.stopped:
            return None
        full = (_PLACES[kinds], *key)
        left = self.dice.roll(103, *full) / weight
        for fault in kinds:
            left -= self.rates[fault]
            if left < 0:
                if full in self.dropped:
                    return None
                self.struck.append(Struck(full, fault))
                return fault
        return None
