"""``kumofire machine``: what can be asked of a lifecycle without a database."""

from __future__ import annotations

from typing import Annotated

import typer

from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.options import NOUN

__all__ = ["machine"]

machine = typer.Typer(name="machine", help="Check a lifecycle.", **NOUN)


@machine.callback()
def _group() -> None:
    """Check a lifecycle."""


@machine.command("lint")
def lint_command(
    target: Annotated[
        str,
        typer.Argument(metavar="MODULE:NAME", help="A lifecycle, a flow, or an application with all."),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as a JSON list.")] = False,
) -> None:
    """Check a lifecycle or a flow, or those of an application: exit code 1 for errors, 0 for none."""
    from kumofire_fsm.cli.linting import findings_json, found_in, is_refused, readable

    found = found_in(target)
    echo(findings_json(found) if as_json else readable(target, found))
    raise typer.Exit(int(is_refused(found, strict=strict)))
