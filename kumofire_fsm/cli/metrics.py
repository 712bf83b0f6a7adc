"""What ``kumofire worker --health-port`` tells a monitoring system, as OpenMetrics text.

Metrics and labels are those of `kumofire_fsm.telemetry.names`, as OpenTelemetry's exporters write them there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from kumofire_fsm.telemetry import names

if TYPE_CHECKING:
    from kumofire_fsm.embedded.opening import WorkerReport
    from kumofire_fsm.engine.registry import Registry
    from kumofire_fsm.reports import Stats

__all__ = ["OPEN_METRICS", "metrics_text"]

OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


def metrics_text(registry: Registry, stats: Stats, worker: WorkerReport | None) -> str:
    """Return what the database and this worker tell."""
    lines = [*_of_database(stats), *(() if worker is None else _of_worker(registry, worker)), "# EOF\n"]
    return "\n".join(lines)


def _of_database(stats: Stats) -> Iterator[str]:
    late = 0.0 if stats.oldest_due_at is None else (stats.at - stats.oldest_due_at).total_seconds()
    runs = [
        ({names.JOB: each.name, names.STATE: state}, number)
        for each in stats.jobs
        for state, number in each.states.items()
    ]
    yield from _family(
        names.COUNT,
        "gauge",
        "Runs in each state, up to 10000 of a job; of settled ones but failed, those of the newest 10000.",
        runs,
    )
    yield from _family(
        f"{names.OLDEST_AGE}_seconds",
        "gauge",
        "For how long the run is due that waits longest for its start; 0 where none waits.",
        [({}, late)],
        unit="seconds",
    )


def _of_worker(registry: Registry, worker: WorkerReport) -> Iterator[str]:
    yield from _family(
        names.SLOTS,
        "gauge",
        "How many handlers of this worker are under way, and for how many more it has room.",
        [
            ({names.SLOT_STATE: names.BUSY}, worker.busy),
            ({names.SLOT_STATE: names.IDLE}, max(0, worker.slots - worker.busy)),
        ],
    )
    yield from _family(
        "kumofire_worker_stuck_handlers",
        "gauge",
        "Handlers that go on although their attempts are over.",
        [({}, worker.stuck)],
    )
    settled: Counter[tuple[str, str]] = Counter()
    for (job, state), number in worker.settled.items():
        definition = registry.names.get(job)
        settled[job, state if definition is None else definition.machine.outcome_of(state)] += number
    yield from _family(
        names.SETTLED,
        "counter",
        "Runs that this worker settled since its start, by outcome.",
        [({names.JOB: job, names.OUTCOME: outcome}, number) for (job, outcome), number in settled.items()],
        "_total",
    )


def _family(
    name: str, kind: str, about: str, samples: Iterable[Sample], suffix: str = "", *, unit: str = ""
) -> Iterator[str]:
    name = _plain(name)
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {about}"
    for labels, value in samples:
        written = ",".join(f'{_plain(label)}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{suffix}{f'{{{written}}}' if written else ''} {value}"


def _plain(name: str) -> str:
    """Return a name of OpenTelemetry's as OpenMetrics spells it."""
    return name.replace(".", "_")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
