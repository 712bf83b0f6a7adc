"""Draws a lifecycle: what `kumofire_fsm.diagram` and the command ``kumofire diagram`` call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args, overload

from kumofire_fsm.drawing._dot import dot_source
from kumofire_fsm.drawing._engines import Engine, render
from kumofire_fsm.drawing._mermaid import mermaid
from kumofire_fsm.drawing._page import page
from kumofire_fsm.drawing._picture import picture_of
from kumofire_fsm.drawing._svg import finish_svg
from kumofire_fsm.drawing._theme import DARK, LIGHT
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.spec import FlowSpec
from kumofire_fsm.flows.view import path_of_steps, steps_as_machine
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import HistoryEntry

__all__ = ["Direction", "Format", "Theme", "diagram"]

TextFormat = Literal["svg", "dot", "mermaid", "md"]
Format = Literal["svg", "png", "dot", "mermaid", "md"]
Theme = Literal["auto", "light", "dark"]
Direction = Literal["TB", "LR"]

_PNG_DPI: Final = 144
"""Twice what a screen shows without scaling, so that small letters stay sharp."""


@overload
def diagram(
    machine: type[Lifecycle | Flow[Any]] | MachineSpec | FlowSpec,
    *,
    format: TextFormat = "svg",
    path: Iterable[HistoryEntry] | None = None,
    counts: Mapping[str, int] | None = None,
    title: str | None = None,
    legend: bool = True,
    detail: bool = False,
    theme: Theme = "auto",
    direction: Direction = "TB",
    engine: Engine = "bundled",
) -> str: ...


@overload
def diagram(
    machine: type[Lifecycle | Flow[Any]] | MachineSpec | FlowSpec,
    *,
    format: Literal["png"],
    path: Iterable[HistoryEntry] | None = None,
    counts: Mapping[str, int] | None = None,
    title: str | None = None,
    legend: bool = True,
    detail: bool = False,
    theme: Theme = "auto",
    direction: Direction = "TB",
    engine: Engine = "bundled",
) -> bytes: ...


def diagram(
    machine: type[Lifecycle | Flow[Any]] | MachineSpec | FlowSpec,
    *,
    format: Format = "svg",
    path: Iterable[HistoryEntry] | None = None,
    counts: Mapping[str, int] | None = None,
    title: str | None = None,
    legend: bool = True,
    detail: bool = False,
    theme: Theme = "auto",
    direction: Direction = "TB",
    engine: Engine = "bundled",
) -> str | bytes:
    """Draw a lifecycle; the same arguments give the same bytes.

    Args:
        machine: a lifecycle's or a flow's class, or its spec; of a flow its steps are drawn.
        format: "svg", "png" (bytes), "dot", "mermaid", or "md", a page of tables.
        path: the history of a run; its steps are numbered, all else is dimmed. Not for "mermaid" and "md".
        counts: how many rows are in each state, shown as badges. Not for "mermaid" and "md".
        title: stands above the picture; an empty text for none. Mermaid has none but a given one.
        legend: whether a legend stands under it.
        detail: whether it shows what the package does for itself: events that change no state and that no
            person fires, such as heartbeats, and every guard.
        theme: "auto" is light, and an SVG turns dark where its reader prefers dark.
        direction: "TB" from top to bottom, "LR" from left to right.
        engine: "bundled" is the Graphviz of the extra ``diagrams``, "system" the program ``dot``, whose
            bytes depend on its version and fonts.

    Raises:
        InvalidArgument: an argument is not one of these, or the path or the counts name an unknown state.
        MissingPackage: the extra ``diagrams``, or the system's Graphviz, is not installed.
        DrawingError: Graphviz failed.
    """
    spec = _spec(machine)
    _one_of("format", format, Format)
    _one_of("theme", theme, Theme)
    _one_of("direction", direction, Direction)
    _one_of("engine", engine, Engine)
    name = _title(spec.name) if title is None else title
    if format in ("mermaid", "md"):
        if path is not None or counts is not None:
            raise InvalidArgument(f"{format!r} shows neither a path nor counts; use svg, png or dot")
        if format == "mermaid":
            return mermaid(spec, title=title or "", direction=direction, detail=detail)
        return page(spec, title=name)
    palette = DARK if theme == "dark" else LIGHT
    if path is not None and isinstance(getattr(machine, "spec", machine), FlowSpec):
        path = path_of_steps(path)
    picture = picture_of(spec, path=path, counts=counts, detail=detail)
    source = dot_source(picture, palette, title=name, with_legend=legend, direction=direction)
    if format == "dot":
        return source
    if format == "png":
        return render(source, format, engine, f"-Gdpi={_PNG_DPI}")
    drawn = render(source, format, engine, "-Tjson").decode()
    return finish_svg(drawn, title=name or spec.name, adapts=theme == "auto")


def _title(machine: str) -> str:
    """Return ``approved_run`` as "The lifecycle of an approved run"."""
    article = "an" if machine.startswith(tuple("aeiou")) else "a"
    return f"The lifecycle of {article} {machine.replace('_', ' ')}"


def _spec(machine: object) -> MachineSpec:
    spec = getattr(machine, "spec", machine)
    if isinstance(spec, FlowSpec):
        return steps_as_machine(spec)
    if not isinstance(spec, MachineSpec):
        raise InvalidArgument(f"{machine!r:.100} is not a lifecycle; give a class such as RunMachine")
    return spec


def _one_of(what: str, given: object, allowed: object) -> None:
    if given not in get_args(allowed):
        raise InvalidArgument(f"{what} must be {' or '.join(get_args(allowed))}; found {given!r:.100}")
