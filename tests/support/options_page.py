"""Writes the table of docs/reference.md on what each option of a command means, from their help: ``make options``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from columns_page import table

from kumofire_fsm.cli.commands import cli

__all__ = ["commands_of", "options_of", "renewed"]

FEW = 4
"""As many commands are named."""
OF_TYPER = ("install_completion", "show_completion")
"""Their meaning is told in words of typer's, which vary with its version."""
PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def commands_of(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by its name; ``kumofire`` itself too."""
    for sub, found in getattr(command, "commands", {}).items():
        yield from commands_of(found, f"{name} {sub}")
    if not getattr(command, "commands", {}) or name == "kumofire":
        yield name, command


def options_of(command: Any) -> list[Any]:
    """Return what a command takes beside its arguments and --help."""
    return [each for each in command.params if each.param_type_name == "option" and each.name != "help"]


def option_table() -> str:
    """Return a row for each option and meaning, with the commands that mean it where they are few."""
    meanings: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name, command in commands_of(typer.main.get_command(cli), "kumofire"):
        for each in options_of(command):
            if each.name in OF_TYPER:
                continue
            spelled = (*sorted(each.opts, key=len, reverse=True), *each.secondary_opts)
            short = name.removeprefix("kumofire ")
            meanings.setdefault(spelled, {}).setdefault(each.help, []).append(short)
    rows = [
        (
            ", ".join(f"`{each}`" for each in spelled),
            _those(names, alone=len(by_help) == 1),
            said.replace("|", r"\|"),
        )
        for spelled, by_help in sorted(meanings.items(), key=lambda item: item[0][0].lstrip("-"))
        for said, names in by_help.items()
    ]
    return table(("option", "of", "meaning"), rows)


def _those(names: list[str], *, alone: bool) -> str:
    """Return which commands mean it: by their names, or the rest of those that have the option."""
    if len(names) <= FEW:
        return ", ".join(f"`{each}`" for each in names)
    return "all that take it" if alone else "all others that take it"


def renewed(page: str) -> str:
    """Return the page with its table as the commands have it."""
    between = re.compile(r"(?<=<!-- options -->\n).*?(?=<!-- end -->)", re.DOTALL)
    page, found = between.subn(lambda _: option_table(), page)
    assert found == 1
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8", newline="\n")
