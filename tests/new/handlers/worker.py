"""A worker whose handler is `async`: what it does depends on the payload."""

import asyncio

import sandhog
from wit_world.imports import kv


async def add(key, number):
    await asyncio.sleep(0.001)
    kv.add(key, number)


async def handle(job):
    match job.payload:
        case b"never":
            await asyncio.get_running_loop().create_future()
        case b"exception":
            await asyncio.sleep(0)
            {}["name"]
        case b"text for bytes":
            kv.set("count:text", "text")
        case b"denied":
            kv.set("secret", b"")
        case b"returns":
            return {"count": 1}
        case b"late import":
            import fractions
        case b"buries":
            raise sandhog.Bury("not wanted")
        case b"discards":
            raise sandhog.Discard("not needed")
    await asyncio.gather(add("count:all", 1), add("count:all", 2))


Handler = sandhog.worker(handle)
