"""Pushes the day a month after each payload."""

import attrs
import sandhog
from dateutil import parser, relativedelta
from wit_world.imports import kv, queue


@attrs.frozen
class Day:
    text: str = attrs.field(validator=attrs.validators.max_len(10))

    def after_a_month(self):
        return parser.parse(self.text) + relativedelta.relativedelta(months=1)


def handle(job):
    text = job.payload.decode()
    match text:
        case "nested":
            queue.push_many("word-counts", [b"1", 2])
        case "bound":
            kv.expire("count:all", -1)
        case "options":
            kv.set_with("count:all", b"1", kv.SetOptions(ttl_ms=text))
    # The other option has its default.
    if kv.set_with(f"count:{text}", b"1", kv.SetOptions(condition=kv.Condition.IF_ABSENT)):
        queue.push("word-counts", Day(text).after_a_month().strftime("%Y-%m-%d").encode())


Handler = sandhog.worker(handle)
