"""Runs Graphviz: the one that comes with the extra ``diagrams``, or the system's."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import warnings
from importlib import metadata
from typing import Final, Literal

from kumofire_fsm.errors import DrawingError, MissingPackage

__all__ = ["INSTALL", "Engine", "render"]

Engine = Literal["bundled", "system"]
INSTALL: Final = "pip install 'kumofire_fsm[diagrams]'"

_LACKING: Final = re.compile(
    r"[^\s\x20-\x7e\xa0-\u0377\u0384-\u052f\u0591-\u05f4\u1e00-\u1fff"  # Latin, Greek, Cyrillic, Hebrew
    r"\u2000-\u208e\u20a0-\u20be\u2190-\u2195\u2202\u2206\u220f\u2211\u2212\u221a\u221e\u222b\u2248\u2260\u2264\u2265\ufffd]"
)
"""What the fonts of the bundled engine lack."""

_PACKAGE: Final = "graphviz-pure"
_TIMEOUT_S: Final = 60


def render(source: str, kind: str, engine: Engine, *more: str) -> bytes:
    """Return what Graphviz makes of DOT text, with ``more`` options.

    Warns of characters that a PNG cannot show: nothing but the picture would tell.

    Raises:
        MissingPackage: the engine is not installed.
        DrawingError: the engine refused the text, or took over a minute.
    """
    lacking = _LACKING.findall(html.unescape(source)) if (kind, engine) == ("png", "bundled") else []
    if lacking:
        listed = " ".join(list(dict.fromkeys(lacking))[:10])
        warnings.warn(
            f"the bundled engine has no font for {listed}, and shows boxes in this PNG; draw an SVG, which "
            "has its reader's fonts, or use the system's engine",
            stacklevel=3,
        )
    program = _bundled() if engine == "bundled" else _system()
    command = [program, f"-T{kind}", *more]
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
