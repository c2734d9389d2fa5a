"""Checks the types of arguments before a call reaches the host: there, a wrong one ends the run without a line number."""

from types import NoneType
from typing import Union

# Bounds of whole numbers that the hints do not tell.
_BOUNDS = {"delta": (-(2**63), 2**63 - 1), "count": (0, 2**32 - 1)}
_UNSIGNED = (0, 2**64 - 1)


def check(module):
    """Makes each function of `module` raise a TypeError or a ValueError that names the argument, and gives options their
    defaults: a call names what it wants."""
    for name, function in list(vars(module).items()):
        if getattr(function, "__code__", None) and not name.startswith("_"):
            setattr(module, name, _checked(f"{module.__name__.rpartition('.')[2]}.{name}", function))
    if options := getattr(module, "SetOptions", None):
        options.__init__.__defaults__ = (None, module.Condition.ALWAYS)
    if options := getattr(module, "PushOptions", None):
        options.__init__.__defaults__ = (module.End.BACK, None, None)


def _checked(name, function):
    code, hints = function.__code__, function.__annotations__
    expected = {argument: hints.get(argument) for argument in code.co_varnames[: code.co_argcount]}

    def call(*arguments, **named):
        for value, (argument, hint) in zip(arguments, expected.items()):
            _must_be(name, argument, value, hint)
        for argument, value in named.items():
            _must_be(name, argument, value, expected.get(argument))
        return call.function(*arguments, **named)

    # `sandhog.testing` puts another one here.
    call.function = function
    call.__name__, call.__doc__, call.__annotations__ = function.__name__, function.__doc__, hints
    return call


def _must_be(name, argument, value, hint):
    """Raises unless `value` is what `hint` wants, and so are its parts."""
    kind, parts = getattr(hint, "__origin__", hint), getattr(hint, "__args__", ())
    if NoneType in parts:
        if value is not None:
            _must_be(name, argument, value, parts[0])
        return
    if kind is Union or not isinstance(kind, type):
        return
    if not isinstance(value, kind):
        raise TypeError(f"{name}: {argument} must be {kind.__name__}, not {type(value).__name__}")
    if kind is int:
        least, most = _BOUNDS.get(argument, _UNSIGNED)
        if not least <= value <= most:
            raise ValueError(f"{name}: {argument} is {value}, not {least} to {most}")
    elif kind is list:
        for nth, item in enumerate(value):
            _must_be(name, f"{argument}[{nth}]", item, parts[0])
    elif kind is tuple:
        if len(value) != len(parts):
            raise TypeError(f"{name}: {argument} must have {len(parts)} parts, not {len(value)}")
        for nth, (item, part) in enumerate(zip(value, parts)):
            _must_be(name, f"{argument}[{nth}]", item, part)
    else:
        for field in getattr(value, "__dataclass_fields__", {}).values():
            _must_be(name, f"{argument}.{field.name}", getattr(value, field.name), field.type)
