"""An application whose startup hook takes a while; it prints when its hooks are called."""

import asyncio

from kumofire_fsm import Jobs, Kumofire

app = Kumofire()


@app.on_startup
async def begin(jobs: Jobs) -> None:
    print("begins", flush=True)
    await asyncio.sleep(0.5)
    print("began", flush=True)


@app.on_shutdown
async def end(jobs: Jobs) -> None:
    print("ended", flush=True)
