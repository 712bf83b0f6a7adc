"""Runs one Python program after the other, each in a fork of this process, which has imported what they import.

It reads a line of JSON for each, ``{"folder", "arguments", "more", "out", "err"}``, and answers with the exit
code. It ends when its standard input does.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest  # noqa: F401

import kumofire_fsm.cli.commands
import kumofire_fsm.testing  # noqa: F401


def become(asked: dict[str, Any]) -> None:
    """Be the program: in its folder, with its arguments and outputs."""
    for path, descriptor in ((os.devnull, 0), (asked["out"], 1), (asked["err"], 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(asked["folder"])
    os.environ.update(asked["more"])
    kind, *rest = asked["arguments"]
    sys.path[0] = ""
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = own = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(own))
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [kind, *rest]
        sys.path[0] = str(Path(kind).resolve().parent)
        runpy.run_path(kind, run_name="__main__")


def main() -> None:
    """Answer until nobody asks any more."""
    gc.freeze()  # a collection in a fork would write to every page that is shared with it
    for line in iter(sys.stdin.readline, ""):
        if (child := os.fork()) == 0:
            become(json.loads(line))
            break
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
