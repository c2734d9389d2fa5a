"""An order as its producer wrote it, checked. Knows nothing of the host, so that plain Python can test it."""

import json
from dataclasses import dataclass

# Longest id or customer: both become part of a key.
NAME_BYTES_MAX = 200
# What `kv` can add up.
CENTS_MAX = 2**63 - 1


class Malformed(ValueError):
    """What is wrong with an order."""


@dataclass(frozen=True)
class Order:
    """`{"id": "A-17", "customer": "ada", "amount_cents": 1234}`; further fields are ignored."""

    id: str
    customer: str
    amount_cents: int

    @staticmethod
    def parse(payload: bytes) -> "Order":
        try:
            fields = json.loads(payload.decode("utf-8"))
            if not isinstance(fields, dict):
                raise ValueError("not an object")
            order = Order(text(fields, "id"), text(fields, "customer"), cents(fields))
        except (ValueError, RecursionError) as error:
            raise Malformed(f"malformed order: {error}") from None
        for field in ("id", "customer"):
            length = len(getattr(order, field).encode())
            if not 1 <= length <= NAME_BYTES_MAX:
                raise Malformed(f"`{field}` has {length} bytes, not 1 to {NAME_BYTES_MAX}")
        if order.amount_cents <= 0:
            raise Malformed(f"`amount_cents` is {order.amount_cents}, not above zero")
        return order


def text(fields: dict, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a string")
    # JSON can hold halves of characters, which UTF-8 has none for.
    value.encode()
    return value


def cents(fields: dict) -> int:
    value = fields.get("amount_cents")
    # In Python `True` is a number.
    if type(value) is not int or not -CENTS_MAX <= value <= CENTS_MAX:
        raise ValueError("`amount_cents` is not a whole number")
    return value
