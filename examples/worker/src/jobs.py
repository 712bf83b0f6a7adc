"""The jobs. No module that only a Worker has is imported here, so that `kumofire` commands can load them."""

from typing import Any

from pydantic import BaseModel

from kumofire_fsm import Backoff, Kumofire, RunContext

app = Kumofire()


class Email(BaseModel):
    to: str
    subject: str
    text: str = ""


class Record(BaseModel):
    text: str


@app.job("email", max_attempts=5, timeout=30)
async def email(ctx: RunContext, mail: Email) -> dict[str, Any]:
    """Pretend to send a mail: nothing is sent until you call your provider here.

    A handler may be called again after a crash; give the provider the run's id as its idempotency key.
    """
    print(f"run {ctx.run.id} pretends to send {mail.subject!r} to {mail.to}")
    return {"to": mail.to, "sent": False}


@app.job("save-record")
async def save_record(ctx: RunContext, record: Record) -> None:
    """Write a row exactly once: it is committed in one transaction with the run's success."""
    sql = "INSERT INTO records (kumofire_job_run_id, text) VALUES (?, ?)"
    ctx.commit([(sql, (ctx.run.id, record.text))])


@app.job("fail-always", max_attempts=3, retry=Backoff(first=1, cap=2, jitter=False))
async def fail_always(ctx: RunContext) -> None:
    raise RuntimeError(f"attempt {ctx.attempt} of {ctx.run.max_attempts} fails, as every one does")
