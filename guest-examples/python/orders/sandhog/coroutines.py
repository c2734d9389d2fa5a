"""Runs an `async` handler to its end, with asyncio.

A component has no sockets, threads or signals. What a handler can await are coroutines, tasks and timers. Tasks that still
run when the handler ends are cancelled, as by `asyncio.run`.
"""

import asyncio
import time


class Loop(asyncio.BaseEventLoop):
    """An event loop that waits for timers only."""

    def __init__(self):
        super().__init__()
        self._selector = self

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("the handler awaits something that nothing can wake: only tasks and timers can")
        if timeout > 0:
            time.sleep(timeout)
        return ()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass


def run(awaitable):
    """Its result."""
    loop = Loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(awaitable)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
