"""How what a config reader returns or raises reaches the host.

`kv` and `logging` are the modules in `wit_world.imports`; their calls raise `Err`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Error_Denied, Error_Quota, Error_Unavailable, Error_WrongType


def config_reader(read):
    """Makes the `ConfigSource` the host calls of a function that returns settings: a dict of text.

    A ValueError, and a refusal of the host, become the reason why there are none; any other exception does with its
    traceback in the host's log.
    """

    class ConfigSource(exports.ConfigSource):
        def read(self):
            try:
                return list(read().items())
            except ValueError as error:
                raise Err(str(error)) from None
            except Err as refused:
                raise Err(said(refused.value)) from None

    return ConfigSource


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
