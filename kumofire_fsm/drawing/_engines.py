"""Runs Graphviz: the one that comes with the extra ``diagrams``, or the system's."""

from __future__ import annotations

import shutil
import subprocess
from importlib import metadata
from typing import Final, Literal

from kumofire_fsm.errors import DrawingError, MissingPackage

__all__ = ["ENGINES", "INSTALL", "Engine", "render"]

Engine = Literal["bundled", "system"]
ENGINES: Final = ("bundled", "system")
INSTALL: Final = "pip install 'kumofire_fsm[diagrams]'"

_PACKAGE: Final = "graphviz-pure"
_TIMEOUT_S: Final = 60


def render(source: str, kind: str, engine: Engine, dpi: int | None = None) -> bytes:
    """Return what Graphviz makes of DOT text.

    Raises:
        MissingPackage: the engine is not installed.
        DrawingError: the engine refused the text, or took over a minute.
    """
    program = _bundled() if engine == "bundled" else _system()
    command = [program, f"-T{kind}", *([f"-Gdpi={dpi}"] if dpi else [])]
    try:
        done = subprocess.run(
            command, input=source.encode(), capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise DrawingError(f"{program} could not draw: {exc}") from exc
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip() or "nothing"
        raise DrawingError(f"{program} gave no {kind} (exit code {done.returncode}); it said: {said:.500}")
    return done.stdout


def _bundled() -> str:
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.stem == _PACKAGE and file.suffix in ("", ".exe"):
            return str(file.locate())
    raise MissingPackage(f"SVG and PNG need Graphviz, which comes with the extra: {INSTALL}")


def _system() -> str:
    found = shutil.which("dot")
    if found is None:
        raise MissingPackage(
            "the system's Graphviz was asked for, but there is no program 'dot' on the path; install "
            f"Graphviz, or use the bundled engine: {INSTALL}"
        )
    return found
