"""Draws a lifecycle as Mermaid text, which GitHub and most documentation tools render."""

from __future__ import annotations

from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec, Role

__all__ = ["mermaid"]


def mermaid(spec: MachineSpec) -> str:
    """Return a ``stateDiagram-v2`` of the machine; the same spec gives the same bytes.

    Self-loops are drawn; a guard stands in brackets; a deadline's event is marked with a clock.
    """
    lines = ["stateDiagram-v2", f"    [*] --> {spec.initial.id}"]
    for source, target in dict.fromkeys((edge.source, edge.target) for edge in spec.edges):
        labels = dict.fromkeys(
            _label(spec, edge) for edge in spec.edges if (edge.source, edge.target) == (source, target)
        )
        lines.append(f"    {source} --> {target}: {', '.join(labels)}")
    settled = ",".join(spec.with_role(Role.SETTLED))
    leased = ",".join(spec.with_role(Role.LEASED))
    lines.append("    classDef settled stroke-width:3px")
    lines.append(f"    class {settled} settled")
    if leased:
        lines.append("    classDef leased stroke-dasharray:4")
        lines.append(f"    class {leased} leased")
    return "\n".join(lines) + "\n"


def _label(spec: MachineSpec, edge: EdgeSpec) -> str:
    source = spec.state(edge.source)
    by_deadline = source is not None and source.deadline and edge.event in source.deadline.fires
    return f"{edge.event} ⏰" if by_deadline else edge.event
