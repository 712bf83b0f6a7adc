"""A suite that fails, to show that a failure inside the Worker reaches the test outside."""


async def test_fails(storage):
    found = 1 + 1
    assert found == 3
