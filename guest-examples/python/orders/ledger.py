"""What an order changes in Redis.

The manifest asks for atomic effects: all of it becomes visible together with the job's completion, or nothing. So nothing
here is prepared for a run that was cut off, and a job that runs twice books once. That leaves the producer, who may push
the same order as two jobs: each order has a marker, set only if there is none.
"""

import json

from wit_world.imports import kv, queue

# How long an order is remembered: a week.
SEEN_MS = 7 * 24 * 60 * 60 * 1000


def book(job_id, order, settings):
    """Books `order`, unless another job has; answers whether it did."""
    once = kv.SetOptions(ttl_ms=SEEN_MS, condition=kv.Condition.IF_ABSENT)
    if not kv.set_with(f"order:seen:{order.id}", job_id.encode(), once):
        kv.add("orders:duplicates", 1)
        return False
    kv.add(f"total:{order.customer}", order.amount_cents)
    kv.add("total:all", order.amount_cents)
    kv.add("orders:count", 1)
    receipt = {
        "order": order.id,
        "customer": order.customer,
        "amount_cents": order.amount_cents,
        "currency": settings.currency,
        "greeting": settings.greeting,
    }
    queue.push("receipts", json.dumps(receipt, ensure_ascii=False).encode())
    return True
