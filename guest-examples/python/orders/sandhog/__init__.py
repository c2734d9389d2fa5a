"""What a handler of jobs raises, and how its answer reaches the host.

`kv`, `queue`, `store` (settings), `status` and `logging` are the modules in `wit_world.imports`; their calls raise `Err`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Failure_Bury, Failure_Discard, Failure_Retry, RetryOptions
from wit_world.imports import kv, queue, status
from wit_world.imports.types import Error_Denied, Error_Quota, Error_WrongType

from . import arguments, reasons
from .answers import prepared

arguments.check(kv)
arguments.check(queue)
arguments.check(status)


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
    """Makes the `Handler` the host calls of a function that takes a job; the function may be `async`.

    The job is done when it returns None. `Retry`, `Bury` and `Discard` say what else becomes of it. A refusal of the host
    that cannot get better buries the job; any other exception is a failed attempt, with the traceback in the job's log.
    """
    answered = prepared(handle)

    class Handler(exports.Handler):
        def handle(self, job):
            try:
                answer = answered(job)
                if answer is not None:
                    raise TypeError(
                        f"the handler returned {type(answer).__name__}, not None; `status.set_result` sets a job's result"
                    )
            except Exception as error:
                raise Err(failure(error)) from None

    return Handler


def failure(error):
    """An exception as the host expects it. The host refuses a call for ever, except while Redis is away."""
    match error:
        case Retry():
            return Failure_Retry(RetryOptions(str(error), error.after_ms))
        case Bury():
            return Failure_Bury(str(error))
        case Discard():
            return Failure_Discard(str(error))
        case Err(value=Error_Denied() | Error_WrongType() | Error_Quota()):
            return Failure_Bury(reasons.of_refusal(error.value))
        case Err():
            return Failure_Retry(RetryOptions(reasons.of_refusal(error.value), None))
        case _:
            reasons.log(error)
            return Failure_Retry(RetryOptions(reasons.of_exception(error), None))
