"""Asks a person before something is done that cannot be taken back."""

from __future__ import annotations

import sys

import typer

from kumofire_fsm.cli.echo import echo
from kumofire_fsm.errors import InvalidArgument

__all__ = ["ask"]


def ask(what: str, about: str = "", beside: str = "") -> None:
    """Let a person say yes; who says no ends the command with exit code 1.

    Args:
        what: what is to be done.
        about: what it is done to, to stand before it.
        beside: what else the person should know.

    Raises:
        InvalidArgument: nobody sits at a terminal.
    """
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"{about}to {what} takes a yes, and nobody sits at a terminal to give it; nothing was changed; "
            "to go on without a question, add --yes"
        )
    if not typer.confirm(f"{about}{what}?{beside}", err=True):
        echo("nothing was changed")
        raise typer.Exit(1)
