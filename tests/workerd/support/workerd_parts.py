"""Fetches what the runtime is made of beside Node's packages: the built wheel, and wheels for CPython on Emscripten.

What is downloaded is kept in the user's cache, under a key of its pinned versions. Several test processes
may ask at once; one of them fetches.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from node_tools import cache, locked, run

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
PLATFORM = ("--python-version", "3.14", "--implementation", "cp", "--abi", "cp314", "--abi", "none")
PLATFORM_TAGS = ("--platform", "pyemscripten_2026_0_wasm32", "--platform", "any")


def dependency_wheels() -> list[Path]:
    """Return the wheels of requirements.txt for the runtime, downloaded once."""
    pins = HERE / "requirements.txt"
    folder = cache() / f"wheels-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    with locked("wheels"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as temporary:
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


def _pip(*arguments: str) -> None:
    run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], HERE)
