"""``kumofire demo`` runs a job before one's eyes, on a file that the other commands then look at."""

from __future__ import annotations

from pathlib import Path

from commands import kumofire


def test_a_job_fails_once_and_succeeds_and_its_file_is_left_to_look_at(tmp_path: Path) -> None:
    done = kumofire(tmp_path, "demo")
    assert (done.code, done.err) == (0, "")
    moves = [line.split()[1:3] for line in done.out.splitlines() if line[:4].strip().isdigit()]
    assert moves == [
        ["create", "ready"],
        ["enqueue", "queued"],
        ["start", "running"],
        ["retry", "retrying"],
        ["start", "running"],
        ["succeed", "succeeded"],
    ]
    said = [line.split("kumofire ")[1].split() for line in done.out.splitlines() if "kumofire " in line]
    assert [kumofire(tmp_path, *words).code for words in said] == [0, 0, 0]


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.db").write_text("mine")
    done = kumofire(tmp_path, "demo", "--db", "mine.db")
    assert (done.code, done.err) == (
        2,
        "kumofire: mine.db exists already; name another file by --db, or delete it\n",
    )
    assert (tmp_path / "mine.db").read_text() == "mine"
