"""``kumofire diagram``, and the picture of the path that a run took."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.printable import one_line

if TYPE_CHECKING:
    from kumofire_fsm.adapters.sqlite import SqliteStorage
    from kumofire_fsm.cli.loading import Declared
    from kumofire_fsm.flows import FlowSpec
    from kumofire_fsm.machines import MachineSpec
    from kumofire_fsm.models import RunStatus

__all__ = ["diagram_command", "draw_path"]

_FORMATS: Final = {
    "svg": "svg",
    "png": "png",
    "dot": "dot",
    "gv": "dot",
    "mmd": "mermaid",
    "mermaid": "mermaid",
    "md": "md",
}
"""A diagram's formats by what a file's name ends in, and ``--format`` takes."""


def diagram_command(
    machine: Annotated[
        str, typer.Argument(metavar="MACHINE", help="RunMachine, JobMachine, or MODULE:CLASS.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; the standard output without it.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="svg, png, dot (or gv), mmd (or mermaid) or md; else the file's suffix."
        ),
    ] = None,
    db: Annotated[Path | None, typer.Option(help="The SQLite file to count in; it is only read.")] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Show how many are in each state or step of --db.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="What stands above the picture.")] = None,
    legend: Annotated[bool, typer.Option(help="Whether a legend stands under it.")] = True,
    detail: Annotated[
        bool, typer.Option("--detail", help="Show heartbeats, hints sent again, and every guard.")
    ] = False,
    theme: Annotated[str, typer.Option(help="auto, light or dark.")] = "auto",
    direction: Annotated[str, typer.Option(help="TB or LR: downwards, or to the right.")] = "TB",
    engine: Annotated[str, typer.Option(help="bundled, or system for the program dot.")] = "bundled",
) -> None:
    """Draw a lifecycle or a flow: its states or steps, events, guards and deadlines."""
    from kumofire_fsm.cli.loading import load_machine

    if counts and db is None:
        raise InvalidArgument("--counts reads a database; say which with --db")
    found = load_machine(machine)
    numbers = _read_counts(db, found.spec) if db is not None else None
    options: dict[str, Any] = {"format": _format_of(output, form), "theme": theme, "direction": direction}
    options |= {"counts": numbers, "title": title, "legend": legend, "detail": detail, "engine": engine}
    _write_output(_drawn(found, **options), output)


def draw_path(status: RunStatus, follows: str, machine: str | None, app: str | None, picture: Path) -> None:
    """Draw the path of a run into a file.

    Args:
        status: the run.
        follows: the name of its machine.
        machine: the lifecycle or flow that was named, if one was.
        app: the application that has it, if one was named.
        picture: the file.

    Raises:
        InvalidArgument: the run follows another, or the file cannot be written.
    """
    from kumofire_fsm.cli.loading import load_machine, load_machines

    run_id = status.kumofire_job_run_id
    given = [load_machine(machine or "RunMachine"), *(load_machines(app) if app and not machine else ())]
    lifecycle = next((each for each in given if _name_of(each) == follows), None)
    if lifecycle is None:
        raise InvalidArgument(
            f"run {run_id} of job {status.name!r} follows the machine {follows!r}, and not "
            f"{' or '.join(repr(_name_of(each)) for each in given)}; to draw it, name the application that "
            "has it: --app MODULE:APP, or its class: --machine MODULE:CLASS"
        )
    options: dict[str, Any] = {"format": _format_of(picture), "path": status.history}
    _write_output(_drawn(lifecycle, title=f"{one_line(status.name)}: {run_id}", **options), picture)


def _name_of(lifecycle: Declared) -> str:
    """Return the name that rows have of a lifecycle or flow."""
    from kumofire_fsm.flows import FlowSpec

    return lifecycle.spec.machine if isinstance(lifecycle.spec, FlowSpec) else lifecycle.spec.name


def _drawn(lifecycle: Declared, **options: Any) -> str | bytes:
    """Return a diagram; what it warns of is a line on the standard error."""
    from kumofire_fsm.drawing import diagram

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        drawn: str | bytes = diagram(lifecycle, **options)
    for each in said:
        echo(f"kumofire: warning: {each.message}", err=True)
    return drawn


def _format_of(output: Path | None, named: str | None = None) -> str:
    """Return the diagram's format that is named, or else that a file's name asks for; SVG without either.

    Raises:
        InvalidArgument: none is known by this name.
    """
    if named is not None:
        word, refused = named, f"--format must be {', '.join(_FORMATS)}; found {named!r}"
    elif output is not None:
        suffixes = ", ".join(f".{name}" for name in _FORMATS)
        word = output.suffix.removeprefix(".")
        refused = f"no format is known for {str(output)!r}; end it in {suffixes}, or give --format"
    else:
        return "svg"
    if word.lower() not in _FORMATS:
        raise InvalidArgument(refused)
    return _FORMATS[word.lower()]


def _write_output(data: str | bytes, output: Path | None) -> None:
    """Write to a file, or to the standard output.

    Raises:
        InvalidArgument: the file cannot be written.
    """
    content = data.encode() if isinstance(data, str) else data
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as exc:
        raise InvalidArgument(f"{output} cannot be written: {exc.strerror}") from exc


def _read_counts(db: Path, spec: MachineSpec | FlowSpec) -> dict[str, int]:
    """Return how many rows are in each state of a machine, or step of a flow; 0 included."""
    from kumofire_fsm.cli.files import using
    from kumofire_fsm.flows import FlowSpec
    from kumofire_fsm.store.runs import count_rows
    from kumofire_fsm.store.versions import count_all_steps

    count = count_all_steps(spec.machine) if isinstance(spec, FlowSpec) else count_rows(spec)
    places = spec.steps if isinstance(spec, FlowSpec) else spec.states

    async def read(storage: SqliteStorage) -> dict[str, int]:
        found: dict[str, int] = dict(await storage.execute(count))
        return {place.id: found.get(place.id, 0) for place in places}

    return using(db, read, read_only=True)
