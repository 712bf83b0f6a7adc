"""Runs the command line in this process, as the script does."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from kumofire_fsm.cli import main


class Done(NamedTuple):
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str = ""


class Terminal(io.StringIO):
    """A standard input that somebody sits at."""

    def isatty(self) -> bool:
        return True


def kumofire(folder: Path, *arguments: object, stdin: io.StringIO | None = None) -> Done:
    """Run ``kumofire`` in a folder; without a standard input of its own nobody answers."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["kumofire", *map(str, arguments)])
        patch.setattr(sys, "stdin", stdin or io.StringIO())
        try:
            main()
        except SystemExit as exc:
            assert isinstance(exc.code, int)
            code = exc.code
    return Done(code, out.getvalue(), err.getvalue())
