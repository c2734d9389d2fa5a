"""The greeting, checked. Knows nothing of the host, so that plain Python can test it."""

# Longest greeting.
BYTES_MAX = 200


def checked(key: str, value: bytes | None) -> str:
    """The greeting of what `key` holds; raises ValueError where that is none, so that workers never see a bad one."""
    if value is None:
        return "hello"
    if len(value) > BYTES_MAX:
        raise ValueError(f"`{key}` has {len(value)} bytes, not {BYTES_MAX} at the most")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"`{key}` is not UTF-8 text") from None
