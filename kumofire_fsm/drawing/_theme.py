"""The colours of a diagram, light and dark, and the style sheet that turns one into the other.

A picture is drawn in light colours. The style sheet of an SVG replaces each of them by its dark
counterpart where the reader prefers dark, so no two light colours may be equal.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from kumofire_fsm.machines.spec import Outcome, Role, StateSpec

__all__ = ["DARK", "LIGHT", "MEANINGS", "Palette", "Tint", "dark_style"]

MEANINGS = {
    Role.CLAIMABLE: "a worker may start it when it is due",
    Role.LEASED: "a worker owns it until its lease ends",
    Role.WAITING: "it waits for its time, or for a person",
    Role.SETTLED: "nothing happens unless a person asks",
}
"""What each role means to a reader of the legend."""


@dataclass(frozen=True, slots=True)
class Tint:
    """The colours of one kind of state."""

    fill: str
    border: str


@dataclass(frozen=True, slots=True)
class Palette:
    """Every colour that a diagram uses."""

    page: str
    ink: str
    muted: str
    faint: str
    line: str
    frame: str
    clock: str
    person: str
    path: str
    badge: str
    on_badge: str
    claimable: Tint
    leased: Tint
    waiting: Tint
    settled: Tint
    success: Tint
    failure: Tint
    cancellation: Tint

    def tint(self, kind: Role | Outcome) -> Tint:
        """Return the colours of a role or an outcome."""
        found: Tint = getattr(self, kind.value)
        return found

    def tint_of(self, state: StateSpec) -> Tint:
        """Return the colours of a state: of its outcome when it declares one, of its role otherwise."""
        return self.tint(state.outcome or state.role)

    def colours(self) -> list[str]:
        """Return every colour, in the order of the fields."""
        values = [getattr(self, each.name) for each in fields(self)]
        pairs = [[v.fill, v.border] if isinstance(v, Tint) else [v] for v in values]
        return [colour for pair in pairs for colour in pair]


LIGHT = Palette(
    page="#ffffff",
    ink="#1f2937",
    muted="#64748b",
    faint="#d3d9e0",
    line="#7b8794",
    frame="#dbe1e8",
    clock="#b45309",
    person="#1d4ed8",
    path="#9333ea",
    badge="#334155",
    on_badge="#fefefe",
    claimable=Tint("#e0edff", "#3b82f6"),
    leased=Tint("#fff3d1", "#d99a0b"),
    waiting=Tint("#ede9fe", "#8b5cf6"),
    settled=Tint("#eef1f4", "#6b7280"),
    success=Tint("#dcfce7", "#16a34a"),
    failure=Tint("#fee2e2", "#dc2626"),
    cancellation=Tint("#e9ecef", "#76808c"),
)
DARK = Palette(
    page="#0d1117",
    ink="#e6edf3",
    muted="#9aa7b4",
    faint="#30363d",
    line="#7d8894",
    frame="#2b323a",
    clock="#f0a64b",
    person="#79b0ff",
    path="#c79bff",
    badge="#d5dde5",
    on_badge="#10161d",
    claimable=Tint("#14294a", "#4a90f5"),
    leased=Tint("#3a2c0b", "#d9a32b"),
    waiting=Tint("#2a2148", "#9d7cf5"),
    settled=Tint("#1f252c", "#8b949e"),
    success=Tint("#10321c", "#3fb950"),
    failure=Tint("#451a1c", "#f0645c"),
    cancellation=Tint("#23292f", "#8d96a0"),
)


def dark_style() -> str:
    """Return CSS that turns a picture in light colours dark where the reader prefers dark."""
    rules = [
        f'[{what}="{light}"]{{{what}:{dark}}}'
        for light, dark in zip(LIGHT.colours(), DARK.colours(), strict=True)
        for what in ("fill", "stroke")
    ]
    return "\n".join(["@media (prefers-color-scheme:dark){", *rules, "}"])
