"""The generated parts of the pages, as Markdown: one function a block, each drawn from the raw results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import capacity
from measure import percentile
from results import per_run, rate, ratio

__all__ = ["BLOCKS", "OF", "WORKS", "name_of"]

Found = dict[str, Any]
NEVER = "This was not measured yet."
WORKS = {"one_by_one": "one by one", "creators": "100 creators", "bulk": "bulk, 500 a call"}
PEER_NAMES = {
    "kumofire": "kumofire_fsm", "dbos": "DBOS", "persist_queue": "persist-queue", "apscheduler": "APScheduler",
    "rq": "RQ", "celery": "Celery",
}  # fmt: skip
SETTINGS = {"two": "two cores", "one": "pinned to one core"}


def name_of(peer: str) -> str:
    """Return how a peer writes its name."""
    return PEER_NAMES.get(peer, peer)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns, but for the first, are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def whole(number: float | None) -> str:
    """Return a rate for a reader: three digits."""
    if number is None:
        return "–"
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def _machine(found: Found, name: str) -> str:
    if found[name] is None:
        return NEVER
    at, took = found[name]["machine"], found[name]["took"]
    return (
        f"{took['date']}, {took['seconds']} s, {found[name]['rounds']} rounds: {at['cpu']}, {at['cores']} cores, "
        f"{at['memory_gb']} GB, {at['system']}, Python {at['python']}, SQLite {at['sqlite']}. A write that the disk "
        f"confirms took {at['fsync_ms']:.2g} ms, a hand-over between threads {at['hand_over_us']:.2g} µs. "
        f"**The machine was {took['machine_was']}**: others took {took['others_percent']:.0f} % of it."
    )


# -- beside the hand-written loop ----------------------------------------------------------------------


def beside(found: Found) -> str:
    """Return runs a second of the three, by setting."""
    bench = found["bench"]
    if bench is None:
        return NEVER
    parts = [_machine(found, "bench")]
    for setting, samples in bench["samples"].items():
        rows = []
        for work, part, label in _works():
            by = samples[work]
            hand, ours = rate(by["by_hand"], part), rate(by["kumofire"], part)
            huey = rate(by["huey"]) if "huey" in by else None
            beside_huey = f"{ratio(by['kumofire'], by['huey']):.2g} x" if "huey" in by else "–"
            share = ratio(by["kumofire"], by["by_hand"], part)
            rows.append([label, whole(hand), whole(ours), f"**{share:.0%}**", whole(huey), beside_huey])
        head = [f"runs a second, {SETTINGS[setting]}", "by hand", "kumofire_fsm", "of by hand", "huey", "of huey"]
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def _works() -> list[tuple[str, str | None, str]]:
    bulk = [
        (f"bulk_{size}", part, f"bulk, {size} a call: {label}")
        for size in (100, 500)
        for part, label in (("create", "create"), ("drain", "drain"), (None, "create + drain"))
    ]
    return [("one_by_one", None, "one by one"), ("creators", None, "100 creators"), *bulk]


def counts(found: Found) -> str:
    """Return what a run takes that does not depend on the machine's speed."""
    bench = found["bench"]
    if bench is None:
        return NEVER
    samples = next(iter(bench["samples"].values()))
    rows = []
    for work, label in (("one_by_one", "one by one"), ("creators", "100 creators"), ("bulk_100", "bulk, 100 a call")):
        for who in ("by_hand", "kumofire"):
            of = samples[work][who]
            values = [per_run(of, what) for what in ("commits", "statements", "switches", "turns")]
            cpu = 1e6 * (per_run(of, "cpu") or 0.0)
            shown = ["–" if value is None else f"{value:.2g}" for value in values]
            rows.append([f"{label}, {'by hand' if who == 'by_hand' else 'kumofire_fsm'}", *shown, f"{cpu:.0f} µs"])
    head = ["a run", "commits", "statements", "waits of a thread", "turns of the loop", "processor time"]
    return table(head, rows)


def standing(found: Found) -> str:
    """Return latency, and what an idle worker and an import take."""
    bench = found["bench"]
    if bench is None:
        return NEVER
    rows = []
    for setting, by in bench["latencies"].items():
        for where, label in (("in", "in the worker's process"), ("across", "from another process")):
            p50, p99 = (percentile(by[where], percent) for percent in (50, 99))
            rows.append([f"create to handler, idle, {label}, {SETTINGS[setting]}", f"{p50:.1f} ms, p99 {p99:.1f} ms"])
    idle, imports = bench["standing"], bench["import_ms"]
    rows += [
        ["an idle worker, of a core", f"{idle['percent']:.1f} %"],
        ["memory of an idle worker; after 10,000 runs", f"{idle['resident_mb']:.0f} MB; {idle['after_10000_mb']:.0f} MB"],
        [
            "`import kumofire_fsm`, processor time, bytecode cached",
            f"{imports['kumofire_fsm']:.0f} ms, {_import_ratio(bench):.2f} x of `import pydantic, statemachine`",
        ],
    ]
    return table(["", "median"], rows)


def _import_ratio(bench: Found) -> float:
    return float(bench["import_ms"]["kumofire_fsm"] / bench["import_ms"]["pydantic_statemachine"])


def aims(found: Found) -> str:
    """Return each aim, what was found, and whether it is reached."""
    bench = found["bench"]
    if bench is None:
        return NEVER
    rows = []
    for setting, by in bench["samples"].items():
        where = SETTINGS[setting]
        for work, part, label, least in (
            ("one_by_one", None, "one by one, of by hand", 0.70),
            ("creators", None, "100 creators, of by hand", 0.65),
            ("bulk_100", None, "bulk 100, create + drain, of by hand", 0.75),
            ("bulk_500", None, "bulk 500, create + drain, of by hand", 0.75),
            ("bulk_500", "drain", "bulk 500, drain, of by hand", 0.75),
        ):
            value = ratio(by[work]["kumofire"], by[work]["by_hand"], part)
            rows.append(_aim(f"{label}, {where}", f"{value:.0%}", f"{least:.0%} or more", reached=value >= least))
        for work, least in (("one_by_one", 1.0), ("creators", 20.0)):
            value = ratio(by[work]["kumofire"], by[work]["huey"])
            label = f"{WORKS[work]}, of huey, {where}"
            rows.append(_aim(label, f"{value:.2g} x", f"{least:g} x or more", reached=value >= least))
        for place, label, most in (("in", "in the process", 2.0), ("across", "across processes", 10.0)):
            value = percentile(bench["latencies"][setting][place], 50)
            rows.append(
                _aim(f"idle latency {label}, {where}", f"{value:.1f} ms", f"under {most:g} ms", reached=value < most)
            )
    first = next(iter(bench["samples"].values()))["bulk_500"]
    cpu = per_run(first["kumofire"], "cpu") or 0.0
    beside_hand = cpu / (per_run(first["by_hand"], "cpu") or 1.0)
    idle = bench["standing"]
    rows += [
        _aim("processor time a run in bulk, of by hand", f"{beside_hand:.2f} x ({1e6 * cpu:.0f} µs)", "0.93 x or less (80 µs where by hand takes 86)", reached=beside_hand <= 0.93),
        _aim("an idle worker, of a core", f"{idle['percent']:.1f} %", "under 3 %", reached=idle["percent"] < 3),
        _aim("memory after 10,000 runs", f"{idle['after_10000_mb']:.0f} MB", "under 60 MB", reached=idle["after_10000_mb"] < 60),
        _aim("import, of pydantic and statemachine", f"{_import_ratio(bench):.2f} x", "1.25 x or less", reached=_import_ratio(bench) <= 1.25),
    ]  # fmt: skip
    return table(["aim", "found", "wanted", "reached"], rows)


def _aim(what: str, value: str, wanted: str, *, reached: bool) -> list[str]:
    return [what, value, wanted, "yes" if reached else "**no**"]


def profile(found: Found) -> str:
    """Return where the processor time of a run goes."""
    bench = found["bench"]
    if bench is None:
        return NEVER
    works = {"one_by_one": "one by one", "create": "bulk 100, create", "drain": "bulk 100, drain"}
    by = {work: dict(bench["profile"][work]) for work in works}
    rooms = sorted({room for each in by.values() for room in each}, key=lambda room: -by["drain"].get(room, 0.0))
    rows = [
        [room if " " in room or room in ("json", "pydantic") else f"`{room}`", *(_us(by[work].get(room)) for work in works)]
        for room in rooms
        if max(by[work].get(room, 0.0) / sum(by[work].values()) for work in works) > 0.01
    ]
    rows.append(["**together**", *(f"**{sum(each.values()):.0f}**" for each in by.values())])
    return table(["µs a run", *works.values()], rows)


def _us(value: float | None) -> str:
    return "–" if value is None or value < 0.05 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


# -- peers -----------------------------------------------------------------------------------------------


def _rate_of(peer: Found, work: str, setting: str, part: str | None = None) -> float | None:
    samples = peer["samples"].get(setting, {}).get(work) if part is None or peer["drains"] else None
    return rate(samples, part) if samples else None


def _peers(found: Found, setting: str) -> list[tuple[str, Found]]:
    """Return the peers, the quickest first in what is common: many creators at once."""
    peers = found["peers"]["peers"].items()
    return sorted(peers, key=lambda each: -(_rate_of(each[1], "creators", setting) or 0.0))


def _lost(peer: Found) -> str:
    killed = peer.get("killed")
    return "–" if killed is None else str(killed["lost"]) if not killed["lost"] else f"**{killed['lost']}**"


def peers(found: Found) -> str:
    """Return all peers, by setting, with what was skipped and why."""
    if found["peers"] is None:
        return NEVER
    parts = [_machine(found, "peers")]
    settings = next(iter(found["peers"]["peers"].values()))["samples"]
    for setting in settings:
        rows = [
            [name_of(name), *(whole(_rate_of(peer, *what)) for what in (
                ("one_by_one", setting), ("creators", setting), ("bulk", setting), ("bulk", setting, "drain"),
            ))]
            for name, peer in _peers(found, setting)
        ]  # fmt: skip
        head = [f"runs a second, {SETTINGS[setting]}", "one by one", "100 creators", "bulk, create + drain", "drain"]
        parts.append(table(head, rows))
    rows = []
    for name, peer in _peers(found, next(iter(settings))):
        latency, idle = peer.get("latencies"), peer.get("idle")
        rows.append([
            f"{name_of(name)} {peer['version'] or ''}".strip(),
            f"{percentile(latency, 50):.1f} / {percentile(latency, 99):.0f} ms" if latency else "–",
            f"{idle['percent']:.1f} %" if idle else "–",
            f"{idle['resident_mb']:.0f} / {peer['resident']:.0f} MB" if idle else "–",
            f"{peer['import_ms']:.0f} ms",
            _lost(peer),
        ])  # fmt: skip
    head = ["", "idle latency p50 / p99", "idle, of a core", "memory idle / after work", "import", "runs lost by kill -9"]
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
    told = (
        f"Durable runs a second in one run on one {took['machine_was']} machine of two cores, each in its fastest durable way:"
    )
    return f"{told}\n\n{table(['', *WORKS.values(), 'lost by kill -9'], rows)}"


# -- scale -----------------------------------------------------------------------------------------------


def scale(found: Found) -> str:
    """Return the figures on files with a past, beside those of an empty file, and those of several workers."""
    if found["scale"] is None:
        return NEVER
    pasts = found["scale"]["pasts"]
    empty = next(iter(pasts))
    works = {"one_by_one": "one by one", "creators": "100 creators", "create": "bulk 100, create", "drain": "bulk 100, drain"}
    rows = []
    for past, samples in pasts.items():
        row = [past + (" rows" if past.startswith("settled") else " due")]
        for work in works:
            mine = [each[work] for each in samples if work in each]
            share = ratio(mine, [each[work] for each in pasts[empty]]) if mine else 0.0
            row.append("–" if not mine else whole(rate(mine)) + ("" if past == empty else f" ({share:.0%})"))
        rows.append(row)
    parts = [_machine(found, "scale"), table(["runs a second (of an empty file's)", *works.values()], rows)]
    workers = found["scale"]["workers"]
    counted = list(next(iter(workers.values())))
    rows = []
    for kind, by in workers.items():
        one = by[counted[0]]
        row = [f"a handler that takes {kind}" if kind != "nothing" else "a handler that does nothing"]
        row += [whole(rate(by[n])) + ("" if n == counted[0] else f" ({ratio(by[n], one):.2g} x)") for n in counted]
        rows.append(row)
    parts.append(table(["runs a second, drained by", *(f"{n} process{'' if n == '1' else 'es'}" for n in counted)], rows))
    return "\n\n".join(parts)


def _embedded(found: Found) -> str:
    if found["bench"] is None:
        return NEVER
    by = next(iter(found["bench"]["samples"].values()))
    day = 86_400
    rows = []
    for work, label in (("one_by_one", "one caller that waits for each run"), ("creators", "100 callers at once"), ("bulk_500", "bulk, 500 a call")):
        each = rate(by[work]["kumofire"])
        rows.append([label, whole(each), f"{each * day / 1e6:,.0f} million"])
    return table(["one file", "runs a second", "a day"], rows)


def sqlite_us(found: Found) -> float:
    """Return the microseconds that SQLite itself takes for a run in bulk; a guess where nothing was measured."""
    if found["bench"] is None:
        return 70.0
    by = found["bench"]["profile"]
    return sum(dict(by[work])["SQLite: statements and commits"] for work in ("create", "drain"))


BLOCKS: dict[str, Callable[[Found], str]] = {
    "beside": beside,
    "counts": counts,
    "standing": standing,
    "aims": aims,
    "profile": profile,
    "peers": peers,
    "peers-how": peers_how,
    "peers-short": peers_short,
    "scale": scale,
    "one-file": _embedded,
    "cost": lambda found: capacity.cost(),
    "databases": lambda found: capacity.databases(sqlite_us(found)),
}
OF = {
    "bench": ("beside", "counts", "standing", "aims", "profile"),
    "peers": ("peers", "peers-how"),
    "scale": ("scale",),
}
"""Which blocks show a result."""
