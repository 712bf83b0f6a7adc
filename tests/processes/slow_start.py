"""An application whose lifespan takes a while to begin; it prints how that goes on."""

import asyncio
from collections.abc import AsyncIterator

from kumofire_fsm import Jobs, Kumofire

app = Kumofire()


@app.lifespan
async def lifespan(jobs: Jobs) -> AsyncIterator[None]:
    print("begins", flush=True)
    await asyncio.sleep(0.5)
    print("began", flush=True)
    yield
    print("ended", flush=True)
