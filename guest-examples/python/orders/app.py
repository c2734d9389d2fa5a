"""A queue worker: takes orders as JSON, keeps totals, pushes a receipt for each.

| order | answer |
|---|---|
| good | done: totals, receipt and marker are written |
| the same order id in another job | done: only `orders:duplicates` is counted |
| above `site-settings.max_amount_cents` | retry: an operator may raise the maximum meanwhile |
| not JSON, a field missing or empty, an amount of zero or less | bury: it will never be better |
"""

import ledger
import sandhog
from order import Malformed, Order
from settings import Settings
from wit_world.imports import logging


def handle(job):
    try:
        order = Order.parse(job.payload)
    except Malformed as malformed:
        raise sandhog.Bury(str(malformed))
    settings = Settings.read()
    amount, most = order.amount_cents, settings.max_amount_cents
    if amount > most:
        raise sandhog.Retry(f"amount {amount} is above the maximum of {most} for now")
    if not ledger.book(job.id, order, settings):
        logging.log(logging.Level.INFO, "orders", f"order `{order.id}` was booked before")


Handler = sandhog.worker(handle)
