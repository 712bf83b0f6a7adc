"""What wrangler makes of examples/worker, and the Worker without the base class that the documentation shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from patience import until
from slices import part
from workerd_project import EXAMPLE, Project, copy_example

ROOT = Path(__file__).resolve().parents[2]
EXPLICIT = Path(__file__).resolve().parent / "docs_app"
SIZE_MAX_KIB = 3 * 1024


@part(0, 2)
def test_wrangler_reads_the_configuration_without_a_word(migrated_example: Project) -> None:
    found = migrated_example.configuration()
    config, options = found["config"], found["options"]
    assert config["main"] == str(migrated_example.folder / "src" / "entry.py")
    assert (config["compatibility_date"] >= "2026-09-08", config["compatibility_flags"]) == (
        True,
        ["python_workers"],
    )
    assert config["d1_databases"][0]["migrations_dir"] == "migrations"
    assert options["cronTriggers"] == ["* * * * *"]
    assert options["d1Databases"].keys() == {"JOBS_DB"}
    assert options["queueProducers"] == {"JOBS_QUEUE": {"queueName": "jobs"}}
    assert options["queueConsumers"] == {
        "jobs": {"maxBatchSize": 10, "maxBatchTimeout": 1, "maxRetries": 10, "deadLetterQueue": "jobs-dead"}
    }


def test_wrangler_bundles_the_worker_with_its_packages(
    node: Path, wheels: list[Path], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    project = copy_example(node, tmp_path / "worker")
    project.vendor(wheels)
    said = project.wrangler("deploy", "--dry-run", "--outdir", "out")
    assert "env.JOBS_QUEUE (jobs)" in said
    assert "env.JOBS_DB (jobs)" in said
    assert (project.folder / "out" / "python_modules" / "kumofire_fsm" / "cloudflare" / "_worker.py").exists()
    size = re.search(r"Total Upload: .* gzip: ([\d.]+) KiB", said)
    assert size is not None, said
    record_property("workerd", f"the example's upload, compressed: {size[1]} KiB")
    assert float(size[1]) < SIZE_MAX_KIB


def test_the_documented_commands_create_what_the_configuration_names(
    migrated_example: Project,
) -> None:
    config = migrated_example.configuration()["config"]
    (database,), (consumer,) = config["d1_databases"], config["queues"]["consumers"]
    queues = {consumer["queue"], consumer["dead_letter_queue"]}
    text = (EXAMPLE / "README.md").read_text("utf-8")
    assert set(re.findall(r"wrangler queues create (\S+)", text)) == queues
    assert re.findall(r"wrangler d1 create (\S+)", text) == [database["database_name"]]
    assert f"kumofire migrate src.jobs:app --remote --d1 {database['database_name']} " in text
    assert f"wrangler d1 migrations apply {database['database_name']} --remote" in text
    assert f"--dir {database['migrations_dir']}` " in text


def test_the_form_without_the_base_class_is_what_the_documentation_shows() -> None:
    page = (ROOT / "docs" / "cloudflare.md").read_text("utf-8")
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert (EXPLICIT / "entry.py").read_text("utf-8") in shown


@part(1, 2)
def test_a_worker_without_the_base_class_consumes_and_dispatches(
    migrated_example: Project, wheels: list[Path], tmp_path: Path
) -> None:
    project = migrated_example.duplicate(tmp_path / "worker")
    read = "SELECT state, result FROM kumofire_runs WHERE id = ?"
    with project.running(wheels, EXPLICIT) as worker:
        reply = worker.request("/", "Ada")
        assert reply.status == 202
        done, run_id = [("succeeded", '"Hello, Ada!"')], reply.json()["kumofire_job_run_id"]
        until(lambda: project.rows(read, run_id) == done, worker.log)
        assert worker.tick().status == 200
