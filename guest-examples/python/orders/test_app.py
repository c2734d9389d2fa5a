"""What an order changes, with Redis in memory. `make test` runs it in plain Python."""

import json
import unittest

import app
import sandhog
from sandhog.testing import Fake, refused

ORDER = b'{"id": "A-1", "customer": "ada", "amount_cents": 1250}'
BOOKED = {"order:seen:A-1": b"test-1", "total:ada": b"1255", "total:all": b"1250", "orders:count": b"1"}


class Orders(unittest.TestCase):
    def test_an_order_is_booked_once(self):
        fake = Fake(keys={"total:ada": b"5"}, settings={"site-settings.currency": "CHF"})
        fake.run(app.handle, ORDER)
        fake.run(app.handle, ORDER, id="test-2")
        self.assertEqual(fake.keys, BOOKED | {"orders:duplicates": b"1"})
        self.assertEqual(fake.ttls, {"order:seen:A-1": 7 * 24 * 60 * 60 * 1000})
        self.assertEqual([json.loads(receipt)["currency"] for receipt in fake.queues["receipts"]], ["CHF"])
        self.assertEqual([message for _, _, message in fake.logged], ["order `A-1` was booked before"])

    def test_a_failure_changes_nothing(self):
        for fake, payload, raised in [
            (Fake(settings={"site-settings.max_amount_cents": "1000"}), ORDER, sandhog.Retry),
            (Fake(), b"{}", sandhog.Bury),
            (Fake(denied={"receipts"}), ORDER, type(refused("Denied", "receipts"))),
        ]:
            with self.assertRaises(raised):
                fake.run(app.handle, payload)
            self.assertEqual((fake.keys, fake.ttls, fake.queues), ({}, {}, {}))


if __name__ == "__main__":
    unittest.main()
