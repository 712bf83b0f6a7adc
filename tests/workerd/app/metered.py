"""A D1 binding that writes down what D1 says each statement cost. It wraps the binding, so that it serves any adapter."""

METERS = ("rows_read", "rows_written", "changes")


class MeteredD1:
    """Stands in for ``env.JOBS_DB``.

    ``calls`` has an entry for each statement: its SQL, the label that was set, its trip (a batch is
    one) and D1's meters.
    """

    def __init__(self, db):
        self._db = db
        self.calls = []
        self.label = ""
        self._trips = 0

    def prepare(self, sql):
        return MeteredStatement(self, self._db.prepare(sql), sql)

    async def batch(self, statements):
        answers = await self._db.batch([each.inner for each in statements])
        self.note([each.sql for each in statements], answers)
        return answers

    def note(self, texts, answers):
        self._trips += 1
        for sql, answer in zip(texts, answers, strict=True):
            meters = {name: answer["meta"].get(name) for name in METERS}
            self.calls.append({"label": self.label, "trip": self._trips, "sql": sql, **meters})


class MeteredStatement:
    def __init__(self, meter, inner, sql):
        self._meter, self.inner, self.sql = meter, inner, sql

    def bind(self, *values):
        return MeteredStatement(self._meter, self.inner.bind(*values), self.sql)

    async def all(self):
        answer = await self.inner.all()
        self._meter.note([self.sql], [answer])
        return answer

    async def run(self):
        answer = await self.inner.run()
        self._meter.note([self.sql], [answer])
        return answer
