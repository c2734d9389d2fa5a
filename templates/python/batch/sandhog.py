"""What a handler of many jobs answers for each of them, and how that reaches the host.

`kv`, `queue`, `store` (settings) and `logging` are the modules in `wit_world.imports`; their calls raise `Err`.
"""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports.handler import Failure_Bury, Failure_Discard, Failure_Retry, RetryOptions
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


def batch(handle):
    """Makes the `BatchHandler` the host calls of a function that takes jobs and answers for each: None (done), `Retry`,
    `Bury` or `Discard`.

    Change nothing for a job that is not done: what a call changes belongs to all that are. A refusal of the host that the
    function does not catch runs all of them again; so does any other exception, one by one, with its traceback in the
    host's log.
    """

    class BatchHandler(exports.BatchHandler):
        def handle_batch(self, jobs):
            try:
                return [result(answer) for answer in handle(jobs)]
            except Err as refused:
                again = Err(Failure_Retry(RetryOptions(said(refused.value), None)))
                return [again for _ in jobs]

    return BatchHandler


def result(answer):
    """An answer as the contract has it."""
    match answer:
        case None:
            return Ok(None)
        case Retry():
            return Err(Failure_Retry(RetryOptions(str(answer), answer.after_ms)))
        case Bury():
            return Err(Failure_Bury(str(answer)))
        case Discard():
            return Err(Failure_Discard(str(answer)))
        case _:
            raise TypeError(f"{answer!r} is no answer for a job")


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
