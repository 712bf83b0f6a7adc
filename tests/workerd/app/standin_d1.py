"""A storage port on D1 that only proves the harness: no retries, no raw bindings, hardly any typed errors."""

from kumofire_fsm.errors import RowRefused, SchemaMismatch, StoreError


class StandInD1:
    def __init__(self, db):
        self._db = db

    async def execute(self, statement):
        answer = await self._translated(self._prepare(statement).all())
        return _rows(answer, statement)

    async def batch(self, statements):
        answers = await self._translated(self._db.batch([self._prepare(each) for each in statements]))
        return [_rows(answer, each) for answer, each in zip(answers, statements, strict=True)]

    def _prepare(self, statement):
        prepared = self._db.prepare(statement.sql)
        values = statement.parameters if statement.argument is None else [statement.argument]
        return prepared.bind(*values) if values else prepared

    async def _translated(self, work):
        try:
            return await work
        except Exception as exc:
            raise _translate(str(exc)) from exc


def _rows(answer, statement):
    return [tuple(row[column] for column in statement.columns) for row in answer["results"]]


def _translate(text):
    if "constraint failed" in text or "SQLITE_CONSTRAINT" in text or "malformed JSON" in text:
        return RowRefused(text)
    if "no such table" in text or "no such column" in text:
        return SchemaMismatch(text)
    return StoreError(text)
