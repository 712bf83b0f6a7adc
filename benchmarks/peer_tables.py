"""The generated parts of the pages that show the peers, files with a past, and several workers."""

from __future__ import annotations

from markdown import NEVER, SETTINGS, WORKS, Found, machine, name_of, table, whole
from measure import percentile
from results import per_run, rate, ratio

__all__ = ["flows", "peers", "peers_how", "peers_short", "scale"]


def _rate_of(peer: Found, work: str, setting: str, part: str | None = None) -> float | None:
    samples = peer["samples"].get(setting, {}).get(work) if part is None or peer["drains"] else None
    return rate(samples, part) if samples else None


def _peers(found: Found, setting: str) -> list[tuple[str, Found]]:
    """Return the peers, the quickest first in what is common: many creators at once."""
    peers = found["peers"]["peers"].items()
    return sorted(peers, key=lambda each: -(_rate_of(each[1], "creators", setting) or 0.0))


def _lost(peer: Found) -> str:
    killed = peer.get("killed")
    return "-" if killed is None else str(killed["lost"]) if not killed["lost"] else f"**{killed['lost']}**"


def peers(found: Found) -> str:
    """Return all peers, by setting, with what was skipped and why."""
    if found["peers"] is None:
        return NEVER
    parts = [machine(found, "peers")]
    settings = next(iter(found["peers"]["peers"].values()))["samples"]
    for setting in settings:
        rows = [
            [name_of(name), *(whole(_rate_of(peer, *what)) for what in (
                ("one_by_one", setting), ("creators", setting), ("bulk", setting), ("bulk", setting, "drain"),
            ))]
            for name, peer in _peers(found, setting)
        ]  # fmt: skip
        head = [
            f"runs a second, {SETTINGS[setting]}",
            "one by one",
            "100 creators",
            "bulk, create + drain",
            "drain",
        ]
        parts.append(table(head, rows))
    rows = []
    for name, peer in _peers(found, next(iter(settings))):
        latency, idle = peer.get("latencies"), peer.get("idle")
        rows.append([
            f"{name_of(name)} {peer['version'] or ''}".strip(),
            f"{percentile(latency, 50):.1f} / {percentile(latency, 99):.0f} ms" if latency else "-",
            f"{idle['percent']:.1f} %" if idle else "-",
            f"{idle['resident_mb']:.0f} / {peer['resident']:.0f} MB" if idle else "-",
            f"{peer['import_ms']:.0f} ms",
            _lost(peer),
        ])  # fmt: skip
    head = [
        "",
        "idle latency p50 / p99",
        "idle, of a core",
        "memory idle / after work",
        "import",
        "runs lost by kill -9",
    ]
    parts.append(table(head, rows))
    parts += [f"Skipped: {name_of(name)} ({why})." for name, why in found["peers"]["skipped"].items()]
    for name, peer in found["peers"]["peers"].items():
        parts += [f"{name_of(name)} failed in {work}: {why}." for work, why in peer.get("failed", {}).items()]
    return "\n\n".join(parts)


def peers_how(found: Found) -> str:
    """Return how each peer was used."""
    if found["peers"] is None:
        return NEVER
    rows = [f"| {name_of(name)} | {peer['how']} |" for name, peer in found["peers"]["peers"].items()]
    return "\n".join(["| system | how it was used |", "|---|---|", *rows])


def peers_short(found: Found) -> str:
    """Return the table of the README: who is best known, and whoever needs no server."""
    if found["peers"] is None:
        return NEVER
    chosen = ("kumofire", "huey", "dbos", "procrastinate")
    setting = next(iter(next(iter(found["peers"]["peers"].values()))["samples"]))
    rows = [
        [name_of(name), *(whole(_rate_of(peer, work, setting)) for work in WORKS), _lost(peer)]
        for name, peer in _peers(found, setting)
        if name in chosen
    ]
    took = found["peers"]["took"]
    told = f"Durable runs a second, on two cores of a {took['machine_was']} machine, each in its fastest way:"
    return f"{told}\n\n{table(['', *WORKS.values(), 'lost by kill -9'], rows)}"


def scale(found: Found) -> str:
    """Return the figures on files with a past, beside an empty file's, and those of several workers."""
    if found["scale"] is None:
        return NEVER
    pasts = found["scale"]["pasts"]
    empty = next(iter(pasts))
    works = {
        "one_by_one": "one by one",
        "creators": "100 creators",
        "create": "bulk 100, create",
        "drain": "bulk 100, drain",
    }
    rows = []
    for past, samples in pasts.items():
        row = [past + (" rows" if past.startswith("settled") else " due")]
        for work in works:
            mine = [each[work] for each in samples if work in each]
            share = ratio(mine, [each[work] for each in pasts[empty]]) if mine else 0.0
            row.append("-" if not mine else whole(rate(mine)) + ("" if past == empty else f" ({share:.0%})"))
        rows.append(row)
    parts = [machine(found, "scale"), table(["runs a second (of an empty file's)", *works.values()], rows)]
    workers = found["scale"]["workers"]
    counted = list(next(iter(workers.values())))
    rows = []
    for kind, by in workers.items():
        one = by[counted[0]]
        row = [f"a handler that takes {kind}" if kind != "nothing" else "a handler that does nothing"]
        row += [
            whole(rate(by[n])) + ("" if n == counted[0] else f" ({ratio(by[n], one):.2g} x)") for n in counted
        ]
        rows.append(row)
    parts.append(
        table(
            ["runs a second, drained by", *(f"{n} process{'' if n == '1' else 'es'}" for n in counted)], rows
        )
    )
    return "\n\n".join(parts)


FLOWS = {
    "kumofire": "kumofire_fsm",
    "by_hand": "by hand, on the same schema",
    "bare": "by hand, on a table of three columns",
    "dbos": "DBOS",
}


def flows(found: Found) -> str:
    """Return the steps a second of flows, beside a loop by hand and beside DBOS."""
    if found["flows"] is None:
        return NEVER
    samples = found["flows"]["samples"]
    rows = []
    for name, label in FLOWS.items():
        if name in samples:
            cpu = per_run(samples[name], "cpu") or 0.0
            beside = "" if name == "kumofire" else f"{ratio(samples['kumofire'], samples[name]):.2g} x"
            rows.append([label, whole(rate(samples[name])), f"{1e6 * cpu:,.0f} µs", beside])
    head = ["eight steps, one after the other", "steps a second", "processor time a step", "a flow is"]
    return "\n\n".join([machine(found, "flows"), table(head, rows)])
