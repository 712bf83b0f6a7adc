"""Identifiers are UUIDv7: their order is the order of time, and they repeat with the seed."""

from __future__ import annotations

import os
import uuid

import pytest
from fakes import SeededEntropy, VirtualClock
from harness import Kit, nothing

from kumofire_fsm.adapters.system import SystemEntropy
from kumofire_fsm.values.ids import first_id_at, new_id, new_token

NOW = 1_767_225_600_123


@pytest.mark.parametrize("now", [0, 1, NOW, 2**48 - 1])
def test_an_id_is_a_uuid_of_version_7(now: int) -> None:
    entropy = SeededEntropy()
    for _ in range(200):
        made = uuid.UUID(new_id(now, entropy))
        assert (made.version, made.variant) == (7, uuid.RFC_4122)
        assert made.int >> 80 == now
        assert str(made) == str(made).lower()


def test_the_order_of_ids_is_the_order_of_time() -> None:
    entropy = SeededEntropy()
    ids = [new_id(NOW + n, entropy) for n in range(500)]
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ_in_all_their_74_random_bits() -> None:
    entropy = SeededEntropy()
    ids = [uuid.UUID(new_id(NOW, entropy)).int for _ in range(2000)]
    assert len(set(ids)) == 2000
    varying = 0
    for value in ids:
        varying |= value ^ ids[0]
    assert varying.bit_count() == 74


def test_the_first_id_of_a_millisecond_is_below_all_of_it_and_above_all_before() -> None:
    entropy = SeededEntropy()
    for _ in range(200):
        assert new_id(NOW - 1, entropy) < first_id_at(NOW) <= new_id(NOW, entropy)
    assert uuid.UUID(first_id_at(NOW)).version == 7


def test_ids_and_tokens_repeat_with_the_seed() -> None:
    assert new_id(NOW, SeededEntropy(5)) == new_id(NOW, SeededEntropy(5)) != new_id(NOW, SeededEntropy(6))
    token = new_token(SeededEntropy(5))
    assert token == new_token(SeededEntropy(5))
    assert len(bytes.fromhex(token)) == 8


async def test_a_whole_history_repeats_byte_for_byte() -> None:
    async def history() -> list[tuple]:
        kit = Kit()
        kit.clock = VirtualClock()
        kit.job("none")(nothing)
        async with kit.bound() as w:
            ids = await w.create_in_order("none", [None] * 5)
            await w.jobs.create_schedule("none", every=60)
            await w.deliver(*ids)
            kit.clock.advance(60)
            await w.jobs.dispatch()
            return await w.sql("SELECT * FROM kumofire_runs") + await w.sql(
                "SELECT * FROM kumofire_schedules"
            )

    assert await history() == await history()


def test_tokens_are_drawn_together_and_never_given_twice() -> None:
    entropy = SystemEntropy()
    drawn = [entropy.token(size) for _ in range(200) for size in (8, 10)]
    assert {len(token) for token in drawn} == {8, 10}
    assert len(set(drawn)) == 400


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_draws_tokens_of_its_own() -> None:
    entropy = SystemEntropy()
    entropy.token(10)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(entropy.token(10) for _ in range(20)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 200)
    os.close(reading)
    os.close(writing)
    mine = {entropy.token(10) for _ in range(20)}
    assert len(theirs) == 200
    assert mine.isdisjoint(theirs[start : start + 10] for start in range(0, 200, 10))
