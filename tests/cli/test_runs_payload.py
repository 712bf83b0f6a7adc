"""``kumofire runs show --app`` shows a run's payload, but for its secrets; without an application none of it."""

from __future__ import annotations

import json
from pathlib import Path

from commands import kumofire
from scripts import run_python

APP = """
from kumofire_fsm import Kumofire, RunContext
from pydantic import BaseModel, Field

app = Kumofire()


class Card(BaseModel):
    holder: str
    number: str = Field(repr=False)


@app.job("pay")
async def pay(ctx: RunContext, card: Card) -> None: ...


if __name__ == "__main__":
    with app.open_sync("jobs.db") as jobs:
        print(jobs.create(pay, Card(holder="Ada", number="4111")).kumofire_job_run_id)
"""


def test_a_payload_is_shown_where_the_application_tells_what_is_secret(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    run_id = run_python(tmp_path, "shop.py").stdout.strip()
    show = ("runs", "show", run_id, "--db", "jobs.db")
    plain, told, as_json = (
        kumofire(tmp_path, *show, *more)
        for more in ((), ("--app", "shop:app"), ("--app", "shop:app", "--json"))
    )
    assert [each.code for each in (plain, told, as_json)] == [0, 0, 0]
    assert "payload" not in plain.out
    assert 'payload       {"holder": "Ada", "number": "**********"}' in told.out.splitlines()
    assert json.loads(as_json.out)["payload"] == {"holder": "Ada", "number": "**********"}
    assert "4111" not in plain.out + told.out + as_json.out
