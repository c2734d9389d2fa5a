"""Checks the types of arguments before a call reaches the host: there, a wrong one ends the run without a line number."""

_CHECKED = (str, bytes, int, list)


def check(module):
    """Makes each function of `module` raise a TypeError that names the argument."""
    for name, function in list(vars(module).items()):
        if getattr(function, "__code__", None) and not name.startswith("_"):
            setattr(module, name, _checked(f"{module.__name__.rpartition('.')[2]}.{name}", function))


def _checked(name, function):
    code, hints = function.__code__, function.__annotations__
    names = code.co_varnames[: code.co_argcount]
    expected = [(argument, _plain(hints.get(argument))) for argument in names]

    def call(*arguments, **named):
        for value, (argument, kind) in zip(arguments, expected):
            _must_be(name, argument, value, kind)
        for argument, kind in expected:
            if argument in named:
                _must_be(name, argument, named[argument], kind)
        return function(*arguments, **named)

    call.__name__, call.__doc__, call.__annotations__ = function.__name__, function.__doc__, hints
    return call


def _plain(hint):
    """The type that can be checked, or None."""
    kind = getattr(hint, "__origin__", hint)
    return kind if kind in _CHECKED else None


def _must_be(name, argument, value, kind):
    if kind is not None and not isinstance(value, kind):
        raise TypeError(f"{name}: {argument} must be {kind.__name__}, not {type(value).__name__}")
