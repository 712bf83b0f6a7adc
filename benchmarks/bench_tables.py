"""The generated parts of the pages that show the package beside a hand-written loop."""

from __future__ import annotations

from markdown import NEVER, SETTINGS, WORKS, Found, machine, table, whole
from measure import percentile
from results import per_run, rate, ratio

__all__ = ["aims", "beside", "counts", "one_file", "profile", "sqlite_us", "standing"]


def beside(found: Found) -> str:
    """Return runs a second of the three, by setting."""
    bench = found["bench"]
    if bench is None:
        return NEVER
    parts = [machine(found, "bench")]
    for setting, samples in bench["samples"].items():
        rows = []
        for work, part, label in _works():
            by = samples[work]
            hand, ours = rate(by["by_hand"], part), rate(by["kumofire"], part)
            huey = rate(by["huey"]) if "huey" in by else None
            beside_huey = f"{ratio(by['kumofire'], by['huey']):.2g} x" if "huey" in by else "-"
            share = ratio(by["kumofire"], by["by_hand"], part)
            rows.append([label, whole(hand), whole(ours), f"**{share:.0%}**", whole(huey), beside_huey])
        head = [
            f"runs a second, {SETTINGS[setting]}",
            "by hand",
            "kumofire_fsm",
            "of by hand",
            "huey",
            "of huey",
        ]
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
    for work, label in (
        ("one_by_one", "one by one"),
        ("creators", "100 creators"),
        ("bulk_100", "bulk, 100 a call"),
    ):
        for who in ("by_hand", "kumofire"):
            of = samples[work][who]
            values = [per_run(of, what) for what in ("commits", "statements", "switches", "turns")]
            cpu = 1e6 * (per_run(of, "cpu") or 0.0)
            shown = ["-" if value is None else f"{value:.2g}" for value in values]
            rows.append(
                [f"{label}, {'by hand' if who == 'by_hand' else 'kumofire_fsm'}", *shown, f"{cpu:.0f} µs"]
            )
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
            rows.append(
                [f"create to handler, idle, {label}, {SETTINGS[setting]}", f"{p50:.1f} ms, p99 {p99:.1f} ms"]
            )
    idle, imports = bench["standing"], bench["import_ms"]
    rows += [
        ["an idle worker, of a core", f"{idle['percent']:.1f} %"],
        [
            "memory of an idle worker; after 10,000 runs",
            f"{idle['resident_mb']:.0f} MB; {idle['after_10000_mb']:.0f} MB",
        ],
        [
            "`import kumofire_fsm`, processor time, bytecode cached",
            f"{imports['kumofire_fsm']:.0f} ms, {_import_ratio(bench):.2f} x `import pydantic, statemachine`",
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
            rows.append(
                _aim(f"{label}, {where}", f"{value:.0%}", f"{least:.0%} or more", reached=value >= least)
            )
        for work, least in (("one_by_one", 1.0), ("creators", 20.0)):
            value = ratio(by[work]["kumofire"], by[work]["huey"])
            label = f"{WORKS[work]}, of huey, {where}"
            rows.append(_aim(label, f"{value:.2g} x", f"{least:g} x or more", reached=value >= least))
        for place, label, most in (("in", "in the process", 2.0), ("across", "across processes", 10.0)):
            value = percentile(bench["latencies"][setting][place], 50)
            rows.append(
                _aim(
                    f"idle latency {label}, {where}",
                    f"{value:.1f} ms",
                    f"under {most:g} ms",
                    reached=value < most,
                )
            )
    first = next(iter(bench["samples"].values()))["bulk_500"]
    cpu = per_run(first["kumofire"], "cpu") or 0.0
    beside_hand = cpu / (per_run(first["by_hand"], "cpu") or 1.0)
    idle = bench["standing"]
    share, after, imported = idle["percent"], idle["after_10000_mb"], _import_ratio(bench)
    found_cpu, wanted_cpu = f"{beside_hand:.2f} x ({1e6 * cpu:.0f} µs)", "0.93 x or less (80 of 86 µs)"
    rows += [
        _aim("processor time in bulk, of by hand", found_cpu, wanted_cpu, reached=beside_hand <= 0.93),
        _aim("an idle worker, of a core", f"{share:.1f} %", "under 3 %", reached=share < 3),
        _aim("memory after 10,000 runs", f"{after:.0f} MB", "under 60 MB", reached=after < 60),
        _aim("import, of both libraries'", f"{imported:.2f} x", "1.25 x or less", reached=imported <= 1.25),
    ]
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
    rooms = sorted(
        {room for each in by.values() for room in each}, key=lambda room: -by["drain"].get(room, 0.0)
    )
    rows = [
        [
            room if " " in room or room in ("json", "pydantic") else f"`{room}`",
            *(_us(by[work].get(room)) for work in works),
        ]
        for room in rooms
        if max(by[work].get(room, 0.0) / sum(by[work].values()) for work in works) > 0.01
    ]
    rows.append(["**together**", *(f"**{sum(each.values()):.0f}**" for each in by.values())])
    return table(["µs a run", *works.values()], rows)


def _us(value: float | None) -> str:
    return "-" if value is None or value < 0.05 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def one_file(found: Found) -> str:
    if found["bench"] is None:
        return NEVER
    by = next(iter(found["bench"]["samples"].values()))
    day = 86_400
    rows = []
    for work, label in (
        ("one_by_one", "one caller that waits for each run"),
        ("creators", "100 callers at once"),
        ("bulk_500", "bulk, 500 a call"),
    ):
        each = rate(by[work]["kumofire"])
        rows.append([label, whole(each), f"{each * day / 1e6:,.0f} million"])
    return table(["one file", "runs a second", "a day"], rows)


def sqlite_us(found: Found) -> float:
    """Return the microseconds that SQLite itself takes for a run in bulk; a guess if none was measured."""
    if found["bench"] is None:
        return 70.0
    by = found["bench"]["profile"]
    return sum(dict(by[work])["SQLite: statements and commits"] for work in ("create", "drain"))
