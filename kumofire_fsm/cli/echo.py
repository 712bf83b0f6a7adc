"""The one way in which commands print: what a database holds steers no terminal."""

from __future__ import annotations

import logging

import typer

from kumofire_fsm.values.printable import printable

__all__ = ["PrintableFormatter", "echo"]


def echo(text: str, *, err: bool = False) -> None:
    """Print a text with its control characters escaped, line feeds excepted; JSON stays the same JSON."""
    typer.echo(printable(text), err=err)


class PrintableFormatter(logging.Formatter):
    """Formats what a worker logs in the same way."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with its control characters escaped."""
        return printable(super().format(record))
