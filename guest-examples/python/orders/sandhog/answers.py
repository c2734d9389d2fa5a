"""What a function of the program answers, whether it is `async` or not."""

_IS_COROUTINE = 0x80 | 0x100  # Flags of code, as in `inspect`.


def prepared(function):
    """`function`, so that the answer of a coroutine is its result. Called when the component is built: modules cannot be
    imported later."""
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__call__", None), "__code__", None)
    run = None
    if code is not None and code.co_flags & _IS_COROUTINE:
        from .coroutines import run

    def call(*arguments):
        answer = function(*arguments)
        if not hasattr(answer, "__await__"):
            return answer
        if run is None:
            raise TypeError(f"`{getattr(function, '__name__', function)}` returned a coroutine: make it an `async def`")
        return run(answer)

    return call
