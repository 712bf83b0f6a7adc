"""The one way in which commands print, and ask: what a database holds steers no terminal."""

from __future__ import annotations

import logging
import sys

import typer

from kumofire_fsm.errors import InvalidArgument, KumofireError
from kumofire_fsm.values.error_text import fault_text
from kumofire_fsm.values.printable import printable

__all__ = [
    "PrintableFormatter",
    "ask",
    "echo",
    "echo_error",
]


def echo(text: str, *, err: bool = False) -> None:
    """Print a text with its control characters escaped, line feeds excepted; JSON stays the same JSON."""
    typer.echo(printable(text), err=err)


def echo_error(exc: Exception) -> int:
    """Print what ended a command, and return its exit code.

    What the package refuses is one line and code 2, a fault of the application its own traceback and code 1.
    """
    if isinstance(exc, KumofireError):
        echo("\n".join([f"kumofire: {exc}", *getattr(exc, "__notes__", ())]), err=True)
        return 2
    echo(fault_text(exc), err=True)
    return 1


class PrintableFormatter(logging.Formatter):
    """Formats what a worker logs in the same way."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with its control characters escaped."""
        return printable(super().format(record))


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
