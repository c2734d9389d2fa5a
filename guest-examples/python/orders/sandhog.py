"""What a handler of jobs raises, and how its answer reaches the host.

`kv`, `queue`, `store` (settings) and `logging` are the modules in `wit_world.imports`; their calls raise `Err`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Failure_Bury, Failure_Discard, Failure_Retry, RetryOptions
from wit_world.imports.types import Error_Denied, Error_Quota, Error_Unavailable, Error_WrongType


class Retry(Exception):
    """Run the job again: after the back-off of the manifest, or after `after_ms` milliseconds."""

    def __init__(self, reason, after_ms=None):
        super().__init__(reason)
        self.after_ms = after_ms


class Bury(Exception):
    """Never run the job again: to the dead jobs, with this reason."""


class Discard(Exception):
    """Drop the job; the reason is logged."""


def worker(handle):
    """Makes the `Handler` the host calls of a function that takes a job.

    The job is done when it returns. A refusal of the host runs the job again; any other exception is a failed attempt,
    too, with the traceback in the host's log.
    """

    class Handler(exports.Handler):
        def handle(self, job):
            try:
                handle(job)
            except Retry as retry:
                raise Err(Failure_Retry(RetryOptions(str(retry), retry.after_ms))) from None
            except Bury as bury:
                raise Err(Failure_Bury(str(bury))) from None
            except Discard as discard:
                raise Err(Failure_Discard(str(discard))) from None
            except Err as refused:
                raise Err(Failure_Retry(RetryOptions(said(refused.value), None))) from None

    return Handler


def said(error):
    """What the host said when it refused a call."""
    match error:
        case Error_Denied(name):
            return f"the grants do not cover `{name}`"
        case Error_WrongType(key):
            return f"`{key}` holds something else"
        case Error_Quota(bound):
            return f"the bound `{bound}` was passed"
        case Error_Unavailable(reason):
            return reason
        case _:
            return repr(error)
