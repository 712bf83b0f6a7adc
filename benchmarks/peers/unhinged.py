"""unhinged: Absurd's tables and procedures on SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contender import Handled, Stepping
from unhinged import Unhinged

__all__ = ["Peer"]


class Peer(Stepping):
    REQUIRES = ("unhinged",)
    MODULE = "unhinged"
    HOW = "`spawn` and `work_batch` in the creator's thread, up to 100 tasks a claim"
    TAKEOVER_SECONDS = 12.0

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        folder.mkdir(exist_ok=True)
        self.app = Unhinged(str(folder / "unhinged.db"), queue_name="bench")
        self.app.create_queue()
        self.left = 0

        @self.app.register_task("noop")
        def noop(params: Any, ctx: Any) -> None:
            handled(params["n"])

    def create(self, number: int) -> None:
        self.app.spawn("noop", {"n": number})

    def step(self) -> bool:
        if self.left:
            self.left -= 1
            return True
        self.left = self.app.work_batch(claim_timeout=5, batch_size=100)
        if self.left:
            self.left -= 1
            return True
        return False

    def close(self) -> None:
        self.app.close()
