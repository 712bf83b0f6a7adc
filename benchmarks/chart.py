"""The peers as bars, in one SVG that is light or dark as its reader prefers."""

from __future__ import annotations

from math import log10
from typing import Any

from markdown import WORKS, name_of, whole
from results import rate

__all__ = ["svg"]

WIDTH, LEFT, GAP, BAR, TOP = 960, 118, 26, 20, 58
STYLE = """
text { font: 12px Helvetica, Arial, 'Liberation Sans', sans-serif; fill: #1f2937 }
.title { font-weight: bold; font-size: 13px } .muted { fill: #64748b; font-size: 11px }
.page { fill: #ffffff } .bar { fill: #b8c4d2 } .ours { fill: #3b82f6 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .muted { fill: #9aa7b4 }
.page { fill: #0d1117 } .bar { fill: #3d4754 } .ours { fill: #4a90f5 } }
"""


def svg(peers: dict[str, Any]) -> str:
    """Return three panels, one a work; bars are as long as the logarithm of runs a second."""
    setting = next(iter(next(iter(peers["peers"].values()))["samples"]))
    panel = (WIDTH - LEFT) // 3
    parts = []
    rates = {
        (name, work): rate(samples)
        for name, peer in peers["peers"].items()
        for work, samples in peer["samples"][setting].items()
        if samples
    }
    names = sorted(peers["peers"], key=lambda name: -rates.get((name, "creators"), 0.0))
    most = log10(max(rates.values()))
    for row, name in enumerate(names):
        parts.append(
            f'<text x="{LEFT - 8}" y="{TOP + row * GAP + 14}" text-anchor="end">{name_of(name)}</text>'
        )
    for column, (work, label) in enumerate(WORKS.items()):
        x = LEFT + column * panel
        parts.append(f'<text class="title" x="{x}" y="{TOP - 14}">{label}</text>')
        for row, name in enumerate(names):
            y, each = TOP + row * GAP, rates.get((name, work))
            long = (panel - 70) * log10(each) / most if each and each > 1 else 1
            kind = "ours" if name == "kumofire" else "bar"
            parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{long:.0f}" height="{BAR}" rx="2"/>')
            parts.append(f'<text class="muted" x="{x + long + 5:.0f}" y="{y + 14}">{whole(each)}</text>')
    height = TOP + len(names) * GAP + 12
    took = peers["took"]
    told = f"durable runs a second, logarithmic; {took['date']}, a {took['machine_was']} machine"
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    label = "Durable runs a second of kumofire_fsm and its peers"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="muted" x="{LEFT}" y="20">{told}</text>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip
