"""What ``kumofire worker --health-port`` tells a monitoring system, as OpenMetrics text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kumofire_fsm.embedded.opening import WorkerReport
    from kumofire_fsm.reports import Stats

__all__ = ["OPEN_METRICS", "metrics_text"]

OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


def metrics_text(stats: Stats, worker: WorkerReport | None) -> str:
    """Return what the database and this worker tell."""
    lines = [*_of_database(stats), *(() if worker is None else _of_worker(worker)), "# EOF\n"]
    return "\n".join(lines)


def _of_database(stats: Stats) -> Iterator[str]:
    late = 0.0 if stats.oldest_due_at is None else (stats.at - stats.oldest_due_at).total_seconds()
    runs = [
        ({"job": each.name, "state": state}, number)
        for each in stats.jobs
        for state, number in each.states.items()
    ]
    yield from _family(
        "kumofire_run_count",
        "gauge",
        "Runs in each state, up to 10000 of a job; of settled ones but failed, those of the newest 10000.",
        runs,
    )
    yield from _family(
        "kumofire_run_oldest_age_seconds",
        "gauge",
        "For how long the run is due that waits longest for its start; 0 where none waits.",
        [({}, late)],
        unit="seconds",
    )


def _of_worker(worker: WorkerReport) -> Iterator[str]:
    yield from _family(
        "kumofire_worker_slots",
        "gauge",
        "How many handlers this worker calls at once, and how many are under way.",
        [({"kind": "all"}, worker.slots), ({"kind": "busy"}, worker.busy)],
    )
    yield from _family(
        "kumofire_worker_stuck_handlers",
        "gauge",
        "Handlers that go on although their runs are gone.",
        [({}, worker.stuck)],
    )
    settled = [({"job": job, "state": state}, number) for (job, state), number in worker.settled.items()]
    yield from _family(
        "kumofire_run_settled", "counter", "Runs that this worker settled since its start.", settled, "_total"
    )


def _family(
    name: str, kind: str, about: str, samples: Iterable[Sample], suffix: str = "", *, unit: str = ""
) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {about}"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{suffix}{f'{{{written}}}' if written else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
