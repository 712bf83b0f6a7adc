"""Runs Python as a reader of the documents would: in a folder, with every warning an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


PLUGIN = "kumofire_fsm.pytest_plugin"


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which this project's own package is found."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | more


def run_python(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``python`` with these arguments in a folder, on this project's own package, with more environment."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, as it is where no plugin is installed but this project's own."""
    command = ("-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider")
    return run_python(folder, *command, *arguments, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
