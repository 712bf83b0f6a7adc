"""Writes a picture as DOT, Graphviz's language, with the package ``graphviz``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kumofire_fsm.drawing._engines import INSTALL
from kumofire_fsm.drawing._labels import cell, font, plain, row, table, text, xml
from kumofire_fsm.drawing._legend import legend, notes_of
from kumofire_fsm.drawing._marks import arrow_label, box_label, path_start
from kumofire_fsm.drawing._picture import Arrow, Picture, node_names
from kumofire_fsm.drawing._theme import Palette
from kumofire_fsm.errors import MissingPackage
from kumofire_fsm.machines.spec import Role, StateSpec

if TYPE_CHECKING:
    from graphviz import Digraph

__all__ = ["dot_source"]

_START = "start "
"""The name of the initial marker's node; no state's name ends in a space."""


def dot_source(
    picture: Picture, colours: Palette, *, title: str, with_legend: bool, direction: str = "TB"
) -> str:
    """Return DOT text; the same picture gives the same bytes.

    Args:
        picture, colours: what is drawn.
        title: stands above the picture; an empty text for none.
        with_legend: whether a legend stands under it.
        direction: "TB" from top to bottom, or "LR" from left to right.

    Raises:
        MissingPackage: the package ``graphviz`` is not installed.
    """
    return _Writer(picture, colours, direction).write(title, with_legend=with_legend)


class _Writer:
    """Writes one picture."""

    def __init__(self, picture: Picture, colours: Palette, direction: str) -> None:
        self._picture, self._colours, self._direction = picture, colours, direction
        self._names = node_names(picture.spec)
        self._notes = notes_of(picture)

    def write(self, title: str, *, with_legend: bool) -> str:
        graph = self._graph()
        if with_legend:
            graph.attr(label=f"<{legend(self._picture, self._colours, self._notes)}>")
        graph.attr(labelloc="b", labeljust="l")
        heading = cell(font(text(title), self._colours.ink, 15, bold=True), shown=title, size=15)
        with graph.subgraph(name="cluster_lifecycle") as whole:
            whole.attr(
                label=f"<{table([row(heading)])}>" if plain(title) else "",
                labelloc="t",
                labeljust="l",
                peripheries="0",
            )
            self._start(whole)
            for role in Role:
                self._frame(whole, role)
        self._arrows(graph)
        return str(graph.source)

    def _graph(self) -> Digraph:
        try:
            from graphviz import Digraph
        except ImportError as exc:
            raise MissingPackage(f"diagrams need the package graphviz: {INSTALL}") from exc
        graph = Digraph(_quotable(self._picture.spec.name))
        c = self._colours
        graph.attr(rankdir=self._direction, newrank="true", compound="true", nodesep="0.5", ranksep="0.4")
        graph.attr(pad="0.25", bgcolor=c.page, fontname="Helvetica")
        graph.attr("node", shape="box", style="rounded,filled", fontname="Helvetica", margin="0.16,0.08")
        graph.attr("edge", fontname="Helvetica", color=c.line, arrowsize="0.7", penwidth="1.2")
        return graph

    def _start(self, graph: Any) -> None:
        c = self._colours
        graph.node(_START, "", shape="circle", width="0.17", fixedsize="true", fillcolor=c.ink, color=c.ink)

    def _frame(self, graph: Any, role: Role) -> None:
        states = [state for state in self._picture.spec.states if state.role is role]
        if not states:
            return
        c = self._colours
        with graph.subgraph(name=f"cluster_{role.value}") as frame:
            frame.attr(
                label=f"<{font(role.value, c.muted, 10)}>", labelloc="t", labeljust="r",
                style="rounded", color=c.frame, margin="13", peripheries="1",
            )  # fmt: skip
            for state in states:
                self._box(frame, state)
            if role is Role.SETTLED:
                with frame.subgraph() as ranked:
                    ranked.attr(rank="same")
                    for state in states:
                        ranked.node(self._names[state.id])

    def _box(self, frame: Any, state: StateSpec) -> None:
        c, tint = self._colours, self._colours.tint_of(state)
        seen = state.id in self._picture.visited
        frame.node(
            self._names[state.id],
            f"<{box_label(self._picture, state, c)}>",
            fillcolor=tint.fill if seen else c.page,
            color=tint.border if seen else c.faint,
            penwidth="1.5",
            peripheries="2" if state.role is Role.SETTLED else "1",
            tooltip=_quotable(state.doc or state.id),
        )

    def _arrows(self, graph: Any) -> None:
        spec, c = self._picture.spec, self._colours
        options: dict[str, str] = {} if self._picture.steps is None else {"color": c.faint}
        if creation := self._picture.creation:
            options = {"color": c.path, "penwidth": "2", "label": f"<{path_start(creation, c)}>"}
        graph.edge(_START, self._names[spec.initial.id], tooltip="created", **options)
        for arrow in reversed(self._picture.arrows):  # seen to cross less than in the other order
            self._arrow(graph, arrow)

    def _arrow(self, graph: Any, arrow: Arrow) -> None:
        """Draw an arrow; one that leads back is laid out forwards, so that states keep their order."""
        options, order = self._style(arrow), list(self._names)
        shared = arrow.source if isinstance(arrow.source, Role) else None
        source = self._picture.spec.with_role(shared)[-1] if shared else arrow.source
        ends = [source, arrow.target]
        back = order.index(source) > order.index(arrow.target)
        if back:
            ends.reverse()
            options["dir"] = "back"
        if shared:
            options["lhead" if back else "ltail"] = f"cluster_{shared.value}"
        label = arrow_label(self._picture, arrow, self._colours, self._notes)
        if label:
            options["label"] = f"<{label}>"
        events = ", ".join(dict.fromkeys(line.event for line in arrow.lines))
        graph.edge(*(self._names[end] for end in ends), tooltip=_quotable(events), **options)

    def _style(self, arrow: Arrow) -> dict[str, str]:
        c = self._colours
        if self._picture.steps is not None:
            return {"color": c.path, "penwidth": "2"} if arrow.steps else {"color": c.faint, "penwidth": "1"}
        if arrow.timed:
            return {"color": c.clock, "style": "dashed"}
        return {}


def _quotable(value: str) -> str:
    from graphviz import escape

    return str(escape(xml(value)))
