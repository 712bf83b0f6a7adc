from workers import Response, WorkerEntrypoint

from kumofire_fsm import Kumofire, RunContext

app = Kumofire()


@app.job("greet")
async def greet(ctx: RunContext, name: str) -> str:
    return f"Hello, {name}!"


class Default(WorkerEntrypoint):
    @property
    def jobs(self):
        return app.bind(db=self.env.JOBS_DB, queue=self.env.JOBS_QUEUE, env=self.env)

    async def fetch(self, request):
        created = await self.jobs.create("greet", await request.json())
        return Response.json({"kumofire_job_run_id": created.kumofire_job_run_id}, status=202)

    async def queue(self, batch, env=None, ctx=None):
        await self.jobs.consume_batch(batch)

    async def scheduled(self, controller, env=None, ctx=None):
        await self.jobs.dispatch()
