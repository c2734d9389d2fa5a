"""A producer that only knows Redis, and the text of one script. Run by tests/plain_client.rs."""

import json
import sys

import redis

shop = redis.Redis(unix_socket_path=sys.argv[1], decode_responses=True)
push = shop.register_script(sys.argv[2])


def order(number):
    return json.dumps({"id": f"O-{number}", "customer": "zoë", "amount_cents": number}, ensure_ascii=False)


def receipt():
    taken = shop.blpop("receipts", timeout=30)
    assert taken, "no receipt comes"
    return json.loads(taken[1])["order"]


def refused(*words, queue="orders"):
    try:
        push(keys=[queue], args=[order(0), *words])
    except redis.ResponseError as error:
        assert str(error).startswith("SANDHOG "), error
        return str(error)
    raise AssertionError(f"{words} were taken")


# A host serves the queue: what is pushed in any way is handled.
assert push(keys=["orders"], args=[order(1)])[:2] == ["waiting", ""]
assert receipt() == "O-1"
trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
said = push(keys=["orders"], args=[order(2), "header", "traceparent", trace, "header", "naïve name", "a=b %\n", "id", "mine"])
assert said[:2] == ["waiting", "mine"], said
assert receipt() == "O-2"

# A delay counts in Redis' time.
seconds, micros = shop.time()
kind, job, due = push(keys=["orders"], args=[order(3), "delay", 300])
assert kind == "delayed" and job.startswith("push-") and 290 <= due - (seconds * 1000 + micros / 1000) <= 2000
assert receipt() == "O-3"
seconds, micros = shop.time()
assert seconds * 1000 + micros / 1000 >= due

# Of those with one unique key, one lives.
first = push(keys=["orders"], args=[order(4), "unique", "four", 60000, "delay", 60000])
assert first[0] == "delayed", first
assert push(keys=["orders"], args=[order(4), "unique", "four", 60000]) == ["duplicate", first[1]]
assert shop.pttl("{orders}:sandhog:unique:four") > 50000

# What is wrong is told in words, and nothing is pushed.
assert "delay" in refused("delay", "soon") and "`daley` is no option" in refused("daley", 5)
assert "value after it" in refused("header", "x") and "UTF-8" in refused("header", "x", b"\xff")
assert "in braces" in refused(queue="{orders}") and "host's own" in refused(queue="{orders}:sandhog:ready")
# Many at once travel in a pipeline.
with shop.pipeline(transaction=False) as pipeline:
    for number in range(10, 110):
        push(keys=["orders"], args=[order(number), "header", "n", number], client=pipeline)
    assert all(answer[0] == "waiting" for answer in pipeline.execute())
assert {receipt() for _ in range(100)} == {f"O-{number}" for number in range(10, 110)}
assert shop.llen("receipts") == 0 and shop.zcard("{orders}:sandhog:dead") == 0
