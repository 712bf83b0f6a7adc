"""The Worker that the tests drive. Its paths are the functions of `ACTIONS`: JSON in, JSON out."""

import json
from urllib.parse import urlparse

import actions
import consumer
from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        action = actions.BY_PATH.get(urlparse(request.url).path)
        if action is None:
            return Response.json({"error": "no such path"}, status=404)
        asked = json.loads(await request.text() or "{}")
        return Response.json(await action(self.env, **asked))

    async def queue(self, batch, env=None, ctx=None):
        await consumer.consume(self.env, batch)

    async def scheduled(self, controller, env=None, ctx=None):
        await consumer.tick(self.env, controller)
