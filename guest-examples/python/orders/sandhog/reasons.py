"""Reasons of failures, in one line each: what went wrong, and where in the program."""

import os
import sys

from wit_world.imports.types import Error_Denied, Error_Quota, Error_Unavailable, Error_WrongType

_OWN = os.path.dirname(__file__) + "/"
_PROGRAM = os.path.dirname(os.path.dirname(__file__)) + "/"  # Packages and the standard library are elsewhere.


def of_refusal(error):
    """Why the host refused a call."""
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


def of_exception(error):
    """The type of an exception, its text, and the last line of the program that was run."""
    if isinstance(error, ModuleNotFoundError) and error.name in sys.stdlib_module_names:
        text = f"module `{error.name}` was not imported when the component was built: import it at the head of a module"
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} ({place})" if (place := _place(error.__traceback__)) else text


def log(error):
    """Writes the traceback to the log of the job."""
    sys.excepthook(type(error), error, error.__traceback__)


def _place(traceback):
    place = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file.startswith(_PROGRAM) and not file.startswith(_OWN):
            place = f"{file.rpartition('/')[2]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
