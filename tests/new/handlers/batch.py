"""A batch worker whose handler is `async`."""

import asyncio

import sandhog
from wit_world.imports import kv


async def answer(job):
    await asyncio.sleep(0.001)
    match job.payload:
        case b"buries":
            return sandhog.Bury("not wanted")
        case b"raises":
            raise ValueError("out of range")
        case b"denied":
            kv.set("secret", b"")
        case b"number":
            return 5
    kv.add("total:all", 1)


async def handle(jobs):
    return await asyncio.gather(*(answer(job) for job in jobs))


BatchHandler = sandhog.batch(handle)
