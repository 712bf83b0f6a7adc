"""A D1 binding that fails as D1 does, before a trip to the database or after its answer came, and counts statements."""

from js import Error, Promise

LOST = "D1_ERROR: Network connection lost."
TIMEOUT = "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset."
OVERLOADED = "D1_ERROR: D1 DB is overloaded. Requests queued for too long."
OVERLOADS = (TIMEOUT, OVERLOADED)


class FaultyD1:
    """Stands in for ``env.JOBS_DB``.

    Attributes:
        faults: trip -> ("before" or "after", the text of D1's error). A trip is one statement or one
            batch, counted from 1 since `reset`.
        trips: the SQL texts of each trip.
    """

    def __init__(self, db):
        self._db = db
        self.reset()

    def reset(self, **faults):
        """Count from 1 again; faults are given as ``trip_1=("before", LOST)``."""
        self.faults = {int(name.removeprefix("trip_")): fault for name, fault in faults.items()}
        self.trips = []

    @property
    def statements(self):
        """How many statements were sent."""
        return sum(map(len, self.trips))

    def prepare(self, sql):
        return FaultyStatement(self, self._db.prepare(sql), sql)

    async def batch(self, statements):
        return await self.travel(
            [each.sql for each in statements], lambda: self._db.batch([each.inner for each in statements])
        )

    async def travel(self, texts, send):
        self.trips.append(texts)
        when, text = self.faults.get(len(self.trips), (None, None))
        if when == "before":
            await Promise.reject(Error.new(text))
        answer = await send()
        if when == "after":
            await Promise.reject(Error.new(text))
        return answer


class FaultyStatement:
    def __init__(self, db, inner, sql):
        self._db, self.inner, self.sql = db, inner, sql

    def bind(self, *values):
        return FaultyStatement(self._db, self.inner.bind(*values), self.sql)

    async def all(self):
        return await self._db.travel([self.sql], self.inner.all)
