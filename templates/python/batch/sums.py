"""Entries and their sums. Knows nothing of the host, so that plain Python can test it."""

import re
from collections.abc import Iterable

# What `kv` can add.
NUMBER_MAX = 2**63 - 1
ENTRY = re.compile(rb"[ \t\n\f\r]*([^ \t\n\f\r]+)[ \t\n\f\r]+([+-]?[0-9]{1,19})[ \t\n\f\r]*", re.ASCII)


def entry_of(payload: bytes) -> tuple[str, int] | None:
    """A payload's name and number; none if it does not read so."""
    match = ENTRY.fullmatch(payload)
    try:
        entry = (match[1].decode(), int(match[2])) if match else None
    except UnicodeDecodeError:
        return None
    return entry if entry and abs(entry[1]) <= NUMBER_MAX else None


def sums_of(entries: Iterable[tuple[str, int]]) -> dict[str, int]:
    """One sum for each name; one that is too large stops growing."""
    sums: dict[str, int] = {}
    for name, number in entries:
        sums[name] = max(-NUMBER_MAX, min(NUMBER_MAX, sums.get(name, 0) + number))
    return sums
