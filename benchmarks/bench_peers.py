"""The package beside others of its kind, each in its fastest durable way: `make bench-peers`.

Each peer is installed into a folder of its own, which git ignores. What is missing, or does not install, is
skipped with a word. The answer goes to results/peers.json, and from there into the pages (`publishing.py`).
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import publishing
import results
from agents import HERE, Agent, Environment, Refused, import_cpu, settings
from machine import Watch, describe
from servers import server

INSTALLED = HERE / ".peers"
NAMES = (
    "kumofire", "huey", "dbos", "harel", "unhinged", "localqueue", "persist_queue", "litequeue",
    "apscheduler", "simplebroker", "procrastinate", "pgqueuer", "rq", "celery",
)  # fmt: skip
STORED, KILLED_AFTER = 300, 100
"""How many runs are stored, and how many of them are done when the process is killed."""
KILLED_AT_ONCE = 4
INSTALL_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; a slow peer is given fewer runs, so that no work takes more than some seconds."""

    rounds: int
    work_seconds: float
    least: int
    most: int
    latency: int
    imports: int


FULL = Size(rounds=2, work_seconds=0.4, least=50, most=10_000, latency=40, imports=2)
QUICK = Size(rounds=1, work_seconds=0.3, least=30, most=1_000, latency=10, imports=1)


def requirements(name: str) -> tuple[str, ...]:
    """Return what a peer needs of pip, without importing it: its file names packages that are not here."""
    return tuple(re.findall(r'"([^"]+)"', declared(name, "REQUIRES")))


def declared(name: str, what: str) -> str:
    """Return what a peer's file says of itself on one line, or an empty text."""
    source = (HERE / "peers" / f"{name}.py").read_text("utf-8")
    found = re.search(rf"^    {what} = (.*)$", source, re.MULTILINE)
    return found[1] if found else ""


def environment(name: str) -> Environment:
    """Return where a peer runs; install it, if that was never done.

    Raises:
        Refused: it cannot be installed.
    """
    if not requirements(name):
        return Environment()
    folder = INSTALLED / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    if not (folder / ".complete").exists():
        print(f"{name}: installing", flush=True)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        try:
            done = subprocess.run(
                [*command, "--target", str(folder), *requirements(name)],
                capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise Refused("its installation takes too long") from exc
        if done.returncode:
            raise Refused(f"it cannot be installed: {done.stderr.strip().splitlines()[-1][:150]}")
        (folder / ".complete").touch()
    # The interpreter that this environment was made of, so that none of our own packages is seen.
    return Environment(getattr(sys, "_base_executable", sys.executable), (str(folder),))


class Peer:
    """One peer that can be measured, and what was found so far."""

    def __init__(self, name: str, place: Environment, size: Size) -> None:
        self.name, self.place, self.size = name, place, size
        self.agent = Agent(name, place)
        self.found: dict[str, Any] = {"samples": {}, **self.agent.ask("hello")}
        self._rates: dict[str, float] = {}

    def measure(self, setting: str, cores: list[int]) -> None:
        """Measure one round; a work in which it fails is left out from then on, and says so."""
        for work, more in (("one_by_one", {}), ("creators", {"number": 100}), ("bulk", {"size": 500})):
            if work in self.found.get("failed", {}):
                continue
            samples = self.found["samples"].setdefault(setting, {}).setdefault(work, [])
            try:
                samples.append(self._work(work, more, cores))
            except Refused as exc:
                self.found.setdefault("failed", {})[work] = str(exc)
                self.agent.__exit__(None)
                self.agent = Agent(self.name, self.place)

    def _work(self, work: str, more: dict[str, int], cores: list[int]) -> dict[str, Any]:
        if work not in self._rates:
            first = self.agent.ask(work, runs=self._runs(work, 0), **more, cores=cores)
            self._rates[work] = results.rate([first])
            if self._runs(work, 0) > self._rates[work] * self.size.work_seconds:
                return first  # it is slow: more would take long, and tell nothing more
        runs = self._runs(work, self._rates[work] * self.size.work_seconds)
        return self.agent.ask(work, runs=runs, **more, cores=cores)

    def _runs(self, work: str, wished: float) -> int:
        step = {"one_by_one": 10, "creators": 100, "bulk": 500 if wished > 500 else 100}[work]
        return int(max(self.size.least, step, min(self.size.most, wished)) // step * step)

    def once(self, cores: list[int]) -> None:
        """Measure what needs no rounds: latency, what it takes while idle, what it takes after work."""
        pauses = [random.uniform(0.005, 0.03) for _ in range(self.size.latency)]
        self.found["resident"] = self.agent.ask("resident")
        self.agent.__exit__(None)
        for work, order in (("latencies", {"pauses": pauses}), ("idle", {})):
            with Agent(self.name, self.place) as agent:
                try:
                    self.found[work] = agent.ask(work, **order, cores=cores)
                except Refused as exc:
                    self.found.setdefault("failed", {})[work] = str(exc)

    def survive(self) -> None:
        """Kill its process under load, and count what was stored and is never done afterwards."""
        with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as folder:
            with Agent(self.name, self.place) as agent:
                agent.begin("serve", folder=folder, runs=STORED)
                patience = time.monotonic() + 30
                while len(told(folder, "handled")) < KILLED_AFTER and time.monotonic() < patience:
                    time.sleep(0.002)
                alive = agent.is_alive()
                agent.kill()
            created = told(folder, "created")
            if not alive or len(told(folder, "handled")) < KILLED_AFTER:
                self.found["failed"] = {**self.found.get("failed", {}), "serve": "it handled too few"}
                return
            with Agent(self.name, self.place) as agent:
                agent.begin("serve", folder=folder, runs=0)
                last, since = -1, time.monotonic()
                while created - (handled := told(folder, "handled")):
                    if len(handled) != last:
                        last, since = len(handled), time.monotonic()
                    if time.monotonic() - since > self.found["takeover"]:
                        break
                    time.sleep(0.02)
                agent.kill()
            lost = created - told(folder, "handled")
            self.found["killed"] = {"created": len(created), "lost": len(lost)}


def told(folder: str, name: str) -> set[str]:
    """Return the numbers that a killed process has told of."""
    path = Path(folder) / name
    return {line for line in path.read_text("ascii").split("\n") if line} if path.exists() else set()


def ready(name: str, size: Size, stack: ExitStack) -> Peer:
    """Return a peer that is installed, whose server runs.

    Raises:
        Refused: something is missing.
    """
    kind = declared(name, "SERVER").strip('"')
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kumofire-server-"))
    variables = stack.enter_context(server(kind or None, Path(folder)))
    place = environment(name)
    return Peer(name, Environment(place.python, place.path, variables), size)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--dry", action="store_true", help="print what was found, and write nothing")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"which of {', '.join(NAMES)}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # servers and agents end with it
    size = QUICK if options.quick else FULL
    found: dict[str, Any] = {"rounds": size.rounds, "peers": {}, "skipped": {}}
    with ExitStack() as stack:
        peers = []
        for name in options.peers or NAMES:
            try:
                peers.append(ready(name, size, stack))
            except Refused as exc:
                print(f"{name}: skipped: {exc}")
                found["skipped"][name] = str(exc)
        found["machine"], watch = describe(), Watch()
        for number in range(size.rounds):
            for setting, cores in settings().items():
                print(f"round {number + 1} of {size.rounds}, on {len(cores)} core(s)", flush=True)
                for peer in peers if number % 2 == 0 else peers[::-1]:
                    began = time.perf_counter()
                    peer.measure(setting, cores)
                    print(f"  {peer.name}: {time.perf_counter() - began:.0f} s", flush=True)
        for peer in peers:
            print(f"{peer.name}: idle", flush=True)
            peer.once(next(iter(settings().values())))
        print("all are killed", flush=True)
        with ThreadPoolExecutor(KILLED_AT_ONCE) as pool:  # this is not timed
            for _ in pool.map(Peer.survive, peers):
                pass
    imported = import_cpu({peer.name: (peer.found["module"], peer.place) for peer in peers}, size.imports)
    found["peers"] = {peer.name: {**peer.found, "import_ms": imported[peer.name]} for peer in peers}
    found["took"] = watch.end()
    publishing.publish("peers", results.rounded(found), dry=options.dry)


if __name__ == "__main__":
    main()
