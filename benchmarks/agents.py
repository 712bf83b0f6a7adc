"""Starts contenders in processes of their own, and asks one after the other: who waits takes nothing."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

__all__ = ["HERE", "ROOT", "Agent", "Environment", "Refused", "import_cpu", "settings"]

HERE = Path(__file__).parent
ROOT = HERE.parent
PATIENCE_SECONDS = 60.0
"""After how long an agent that does not answer is ended."""


class Refused(Exception):
    """A contender could not do it; the text tells why."""


@dataclass(frozen=True)
class Environment:
    """The Python of a contender, and where its packages are."""

    python: str = sys.executable
    path: tuple[str, ...] = (str(ROOT),)
    more: dict[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """Return a process's environment."""
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(self.path), **self.more}
        return {name: value for name, value in found.items() if name != "VIRTUAL_ENV"}


def settings() -> dict[str, list[int]]:
    """Return where each figure is measured: on two cores, where there are two, and pinned to one."""
    cores = sorted(os.sched_getaffinity(0))
    return {"two": cores[:2], "one": cores[:1]} if len(cores) > 1 else {"one": cores}


class Agent:
    """One contender's process."""

    def __init__(self, name: str, environment: Environment | None = None) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            [(environment or Environment()).python, str(HERE / "agent.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=(environment or Environment()).variables(),
            text=True,
        )
        atexit.register(self._process.kill)  # also when it is busy and somebody interrupts

    def ask(self, work: str, **order: Any) -> Any:
        """Have something measured, and return what the agent answers.

        Raises:
            Refused: it failed, or did not answer in time.
        """
        self.begin(work, **order)
        return self.answer()

    def begin(self, work: str, **order: Any) -> None:
        """Have something done; `answer` waits for it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` tells so
            self._process.stdin.write(json.dumps({"work": work, **order}) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer to what was begun first.

        Raises:
            Refused: it failed, or did not answer in time.
        """
        assert self._process.stdout is not None
        timer = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise Refused(f"its process ended, or took over {PATIENCE_SECONDS:.0f} s")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["answer"]

    def is_alive(self) -> bool:
        """Return whether its process goes on."""
        return self._process.poll() is None

    def errors(self) -> str:
        """Return the last of what it printed."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")[-2000:]

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.kill()
        self._errors.close()


def import_cpu(modules: dict[str, tuple[str, Environment]], rounds: int) -> dict[str, float]:
    """Return milliseconds of processor time that importing takes, by name; bytecode is cached before.

    Args:
        modules: by name, what stands behind ``import``, and where.
        rounds: they take turns; what counts is the median.
    """
    found: dict[str, list[float]] = {name: [] for name in modules}
    caches = tempfile.TemporaryDirectory(prefix="kumofire-bench-")
    for number in range(rounds + 1):
        for name, (module, environment) in modules.items():
            variables = {**environment.variables(), "PYTHONPYCACHEPREFIX": caches.name}
            variables.pop("PYTHONDONTWRITEBYTECODE", None)
            code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
            done = subprocess.run(
                [environment.python, "-c", code],
                env=variables,
                capture_output=True,
                text=True,
                check=True,
            )
            if number:  # the first one wrote the bytecode
                found[name].append(1000 * float(done.stdout))
    caches.cleanup()
    return {name: median(values) for name, values in found.items()}
