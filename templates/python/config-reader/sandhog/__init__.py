"""How what a config reader returns or raises reaches the host.

`kv` and `logging` are the modules in `wit_world.imports`; their calls raise `Err`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import kv

from . import arguments, reasons
from .answers import prepared

arguments.check(kv)


def config_reader(read):
    """Makes the `ConfigSource` the host calls of a function that returns settings: a dict of text. The function may be
    `async`.

    A ValueError, and a refusal of the host, become the reason why there are none; any other exception does with its
    place, and with its traceback in the host's log.
    """
    answered = prepared(read)

    class ConfigSource(exports.ConfigSource):
        def read(self):
            try:
                return settings(answered())
            except ValueError as error:
                raise Err(str(error)) from None
            except Err as refused:
                raise Err(reasons.of_refusal(refused.value)) from None
            except Exception as error:
                reasons.log(error)
                raise Err(reasons.of_exception(error)) from None

    return ConfigSource


def settings(answer):
    """Settings as the host expects them."""
    if not isinstance(answer, dict):
        raise TypeError(f"the reader returned {type(answer).__name__}, not a dict of text")
    for name, text in answer.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"the setting {name!r} must be text, not {type(text).__name__}")
    return list(answer.items())
