"""The tests of the shop: a handler by itself, all of it in virtual time, and its web layer."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from conftest import Double
from shop import Order, app, ask, charge, ship, web

from kumofire_fsm.testing import SyncVirtualJobs, VirtualClock, perform

ORDER = Order(number=1, mail="ana@example.com", cents=900)


# -- one handler -------------------------------------------------------------------------------------------


def test_a_charge_commits_its_receipt_and_the_shipping(outside: Double) -> None:
    done = asyncio.run(perform(charge, ORDER, app=app, env=outside))
    assert (done.state, done.commits[0][1]) == ("succeeded", (1, done.result))
    assert "kumofire_runs" in done.commits[1][0]


def test_a_bank_that_is_down_is_asked_three_times(outside: Double) -> None:
    outside.declines = 2
    first = asyncio.run(perform(charge, ORDER, app=app, env=outside))
    assert (first.state, first.delay) == ("retrying", timedelta(seconds=5))
    last = asyncio.run(perform(charge, ORDER, app=app, env=outside, attempt=3))
    assert (last.state, last.error_type) == ("failed", "ConnectionError")


def test_shipping_waits_for_the_warehouse_and_stops_when_asked(outside: Double) -> None:
    outside.unpacked = {1}
    done = asyncio.run(perform(ship, ORDER, app=app, env=outside))
    assert (done.event, done.delay, done.progress) == (
        "snooze",
        timedelta(minutes=30),
        "waiting for the parcel",
    )
    done = asyncio.run(perform(ship, ORDER, app=app, env=outside, canceled=True))
    assert (done.state, outside.sent) == ("canceled", [])


# -- all of it ---------------------------------------------------------------------------------------------


def test_an_order_is_charged_shipped_and_asked_about(jobs: SyncVirtualJobs, outside: Double) -> None:
    outside.declines, outside.unpacked = 1, {1}
    jobs.create(charge, ORDER)
    assert [(each.name, each.state) for each in jobs.advance(minutes=10)] == [
        ("charge", "retrying"),
        ("charge", "succeeded"),
        ("ship", "ready"),
    ]
    outside.unpacked.clear()
    assert [each.name for each in jobs.advance(minutes=30)] == ["ship"]
    jobs.assert_created(ask, ORDER, delay=timedelta(days=7), dedupe_key="order 1")
    jobs.drain()
    assert [text for _, text in outside.sent] == ["Order 1 is on its way.", "How do you like it?"]
    assert jobs.sql("SELECT count(*) FROM receipts") == [(1,)]


def test_the_report_comes_every_morning_also_when_clocks_change(
    jobs: SyncVirtualJobs, kumofire_clock: VirtualClock, outside: Double
) -> None:
    jobs.advance(datetime(2026, 3, 28, tzinfo=UTC))
    jobs.sync_schedules()
    times = [each.at.strftime("%d %H:%M") for each in jobs.advance(days=2)]
    assert times == ["28 06:00", "29 05:00"]
    assert outside.sent == [("owner@example.com", "0 orders need you")] * 2
    assert kumofire_clock.time == datetime(2026, 3, 30, tzinfo=UTC)


# -- the web layer -----------------------------------------------------------------------------------------


def call(jobs: SyncVirtualJobs, method: str, path: str, body: str = "") -> dict[str, Any]:
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_LENGTH": str(len(body))}
    statuses = list[str]()
    answer = web(jobs)(
        {**environ, "wsgi.input": io.BytesIO(body.encode())}, lambda status, _: statuses.append(status)
    )
    return {"status": statuses[0][:3], **json.loads(b"".join(answer))}


def test_a_request_creates_a_run_and_works_nothing(jobs: SyncVirtualJobs) -> None:
    made = call(jobs, "POST", "/orders", ORDER.model_dump_json())
    jobs.assert_created(charge, ORDER)
    assert call(jobs, "GET", f"/orders/{made['id']}") == {"status": "200", "state": "queued", "receipt": None}


def test_in_immediate_mode_the_next_request_sees_it_done(jobs: SyncVirtualJobs, outside: Double) -> None:
    jobs.immediate = True
    made = call(jobs, "POST", "/orders", ORDER.model_dump_json())
    seen = call(jobs, "GET", f"/orders/{made['id']}")
    assert (seen["state"], seen["receipt"]) == ("succeeded", f"900 by {made['id'][-4:]}")
    assert outside.sent == [("ana@example.com", "Order 1 is on its way.")]
