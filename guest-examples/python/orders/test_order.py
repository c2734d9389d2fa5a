"""What an order may be. `python3 -m unittest` needs nothing but Python."""

import unittest

from order import Malformed, Order


class Orders(unittest.TestCase):
    def test_a_good_order_is_read(self):
        order = Order.parse(b'{"id": "A-1", "customer": "ada", "amount_cents": 1, "note": "x"}')
        self.assertEqual(order, Order("A-1", "ada", 1))

    def test_what_is_wrong_is_said(self):
        for payload, said in [
            (b"", "malformed order: Expecting value"),
            (b"[1]", "malformed order: not an object"),
            (b'{"id": "A-1"', "malformed order: Expecting"),
            (b"\xff\xfe", "malformed order: 'utf-8' codec"),
            (b"[" * 100_000, "malformed order: "),
            (b'{"id": "A-1", "amount_cents": 1}', "malformed order: `customer` is not a string"),
            (b'{"id": "\\ud800", "customer": "a", "amount_cents": 1}', "malformed order: 'utf-8' codec"),
            (b'{"id": "A-1", "customer": "a", "amount_cents": 1.5}', "not a whole number"),
            (b'{"id": "A-1", "customer": "a", "amount_cents": true}', "not a whole number"),
            (b'{"id": "A-1", "customer": "a", "amount_cents": 99999999999999999999}', "not a whole number"),
            (b'{"id": "", "customer": "a", "amount_cents": 1}', "`id` has 0 bytes, not 1 to 200"),
            ('{"id": "%s", "customer": "a", "amount_cents": 1}' % ("é" * 101), "`id` has 202 bytes"),
            (b'{"id": "A-1", "customer": "", "amount_cents": 1}', "`customer` has 0 bytes"),
            (b'{"id": "A-1", "customer": "a", "amount_cents": 0}', "`amount_cents` is 0, not above zero"),
            (b'{"id": "A-1", "customer": "a", "amount_cents": -5}', "`amount_cents` is -5"),
        ]:
            with self.subTest(payload=payload[:60]), self.assertRaises(Malformed) as malformed:
                Order.parse(payload.encode() if isinstance(payload, str) else payload)
            self.assertIn(said, str(malformed.exception))


if __name__ == "__main__":
    unittest.main()
