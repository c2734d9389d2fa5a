"""What a handler of many jobs answers for each of them, and how that reaches the host.

`kv`, `queue`, `store` (settings) and `logging` are the modules in `wit_world.imports`; their calls raise `Err`.
"""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import kv, queue
from wit_world.imports.handler import Failure_Bury, Failure_Discard, Failure_Retry, RetryOptions
from wit_world.imports.types import Error_Denied, Error_Quota, Error_WrongType

from . import arguments, reasons
from .answers import prepared

arguments.check(kv)
arguments.check(queue)


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
    `Bury` or `Discard`. The function may be `async`.

    Change nothing for a job that is not done: what a call changes belongs to all that are. An exception that the function
    does not catch is a failed attempt of all of them, with the traceback in the log unless it is a refusal of the host. A
    job that is alone in its call is buried by a refusal that cannot get better.
    """
    answered = prepared(handle)

    class BatchHandler(exports.BatchHandler):
        def handle_batch(self, jobs):
            try:
                answers = [result(answer) for answer in answered(jobs)]
                if len(answers) != len(jobs):
                    raise ValueError(f"the handler answered for {len(answers)} jobs, not {len(jobs)}")
                return answers
            except Exception as error:
                again = failure(error)
                if len(jobs) > 1 and not isinstance(again, Failure_Retry):
                    # One job may be to blame: the host runs each alone in its last attempt.
                    again = Failure_Retry(RetryOptions(again.value, None))
                return [Err(again) for _ in jobs]

    return BatchHandler


def result(answer):
    """An answer as the host expects it."""
    match answer:
        case None:
            return Ok(None)
        case Retry() | Bury() | Discard():
            return Err(failure(answer))
        case _:
            raise TypeError(f"the handler answered {type(answer).__name__} for a job, not None, Retry, Bury or Discard")


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
