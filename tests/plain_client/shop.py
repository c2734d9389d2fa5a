"""A shop that only knows Redis: pushes orders, takes receipts, reads totals. Run by tests/plain_client.rs."""

import json
import sys
import time

import redis

shop = redis.Redis(unix_socket_path=sys.argv[1], decode_responses=True)


def order(number, **fields):
    fields = {"id": f"O-{number}", "customer": "zoë", "amount_cents": number} | fields
    return json.dumps(fields, ensure_ascii=False)


def receipts(count):
    found = {}
    while len(found) < count:
        taken = shop.blpop("receipts", timeout=30)
        assert taken, f"{len(found)} of {count} receipts, and no more come"
        receipt = json.loads(taken[1])
        assert receipt["order"] not in found, f"two receipts for {receipt['order']}"
        found[receipt["order"]] = receipt
    return found


def until(what, condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.005)


# Settings: plain keys in, a plain hash out, and workers see what the hash shows.
shop.set("keyname", "ada")
until("the settings follow `keyname`", lambda: shop.hget("site-settings", "greeting") == "hello, ada")

# One by one, many at once, from either end, in a transaction.
shop.rpush("orders", order(1))
shop.lpush("orders", order(2))
shop.rpush("orders", *[order(number) for number in range(3, 301)])
with shop.pipeline(transaction=True) as pipeline:
    for number in range(301, 501):
        pipeline.rpush("orders", order(number))
    pipeline.execute()

found = receipts(500)
assert set(found) == {f"O-{number}" for number in range(1, 501)}
assert all(receipt["greeting"] == "hello, ada" for receipt in found.values())
assert found["O-7"] == {
    "order": "O-7", "customer": "zoë", "amount_cents": 7, "currency": "EUR", "greeting": "hello, ada",
}

# What a handler writes is there for every client, in plain types.
worth = sum(range(1, 501))
# All that a job writes appears at once: where its receipt is, its marker is, and its sums are.
assert all(shop.mget([f"order:seen:O-{number}" for number in range(1, 501)]))
assert shop.get("total:zoë") == shop.get("total:all") == str(worth)
assert shop.type("total:all") == "string" and shop.incrby("total:all", 1) == worth + 1
assert shop.get("orders:count") == "500" and shop.llen("orders") == 0

# A changed setting: whoever is served after the hash shows it sees it.
shop.set("config:greeting", "ahoy")
until("the settings follow `config:greeting`", lambda: shop.hget("site-settings", "greeting") == "ahoy, ada")
shop.rpush("orders", order(501))
assert receipts(1)["O-501"]["greeting"] == "ahoy, ada"

# A bad setting changes nothing; a bad order is put aside with its reason, and the queue goes on.
shop.set("config:currency", "euro")
shop.rpush("orders", "no order", order(502, amount_cents=-1), order(503))
assert receipts(1)["O-503"]["currency"] == "EUR"
until("two orders are dead", lambda: shop.zcard("{orders}:sandhog:dead") == 2)
# A header line of the host's, then the producer's bytes.
heads, payloads = zip(*(entry.split("\n", 1) for entry in shop.zrange("{orders}:sandhog:dead", 0, -1)))
assert sorted(payloads) == ["no order", order(502, amount_cents=-1)], payloads
assert all("!reason=" in head for head in heads), heads
