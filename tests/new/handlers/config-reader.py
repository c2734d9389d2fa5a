"""A config reader that is `async`, and returns what its key says."""

import asyncio

import sandhog
from wit_world.imports import kv

KEY = "{{name}}:greeting"


async def read():
    await asyncio.sleep(0.001)
    text = (kv.get(KEY) or b"hello").decode()
    return {"greeting": 5 if text == "number" else text}


ConfigSource = sandhog.config_reader(read)
