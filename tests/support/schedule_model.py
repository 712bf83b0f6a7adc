"""What misfire and overlap policies promise, one occurrence after the other: the slow answer, plainly right.

It shares nothing with the package, counts every occurrence, and knows neither statements nor rows. Seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

LIMIT = 100
"""Missed occurrences that "all" runs at most."""


@dataclass
class Model:
    """One recurring job: which occurrences ran and which were passed over, after some looks."""

    follows: Callable[[int], int]
    """The occurrence after an instant."""
    misfire: str
    grace: int
    overlap: str
    most: int | None
    until: int | None
    next: int
    held: bool = False
    ended: bool = False
    ran: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    why: str | None = None
    busy: set[int] = field(default_factory=set)
    """Occurrences whose runs are not settled."""

    def look(self, now: int) -> None:
        """Notice what is due."""
        again = True
        while again and not self.ended:
            again = self._look(now)
            self.ended |= self._over(self.next)

    def _over(self, at: int) -> bool:
        return self.until is not None and at > self.until

    def _look(self, now: int) -> bool:
        due = []
        at = self.next
        while at <= now and not self._over(at):
            due.append(at)
            at = self.follows(at)
        if not due:
            return False
        if self.held:
            if self.busy:
                return False
            self.held = False
            self._run(due[0])
            self._pass_over([] if self.ended else due[1:], "overlap")
            self.next = at
            return False
        missed = [each for each in due if now - each > self.grace]
        in_time = due[len(missed) :]
        if missed and self.misfire == "latest":
            chosen = due[-1:]
        else:
            chosen = [*(missed[-LIMIT:] if self.misfire == "all" else []), *in_time]
        self._pass_over([each for each in due if each not in chosen], "misfire")
        self.next = at
        if not chosen:
            return False
        if self.overlap == "allow":
            for each in chosen:
                self._run(each)
        elif self.overlap == "skip":
            if not self.busy:
                self._run(chosen.pop(0))
            self._pass_over([] if self.ended else chosen, "overlap")
        elif self.overlap == "cancel_previous":
            self.busy.clear()
            self._pass_over(chosen[:-1], "overlap")
            self._run(chosen[-1])
        elif self.busy:
            self.held, self.next = True, chosen[0]
        else:
            self._run(chosen[0])
            self.next = chosen[1] if len(chosen) > 1 else at
            return len(chosen) > 1
        return False

    def _run(self, at: int) -> None:
        if self.ended:
            return
        self.ran.append(at)
        self.busy.add(at)
        self.ended = len(self.ran) == self.most

    def _pass_over(self, occurrences: list[int], why: str) -> None:
        self.skipped += occurrences
        if occurrences:
            self.why = why
