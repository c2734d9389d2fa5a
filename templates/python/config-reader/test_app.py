"""Which settings come of which keys, with Redis in memory. `make test` runs it in plain Python."""

import unittest

import app
from sandhog.testing import Fake


class Settings(unittest.TestCase):
    def test_the_greeting_is_that_of_the_key(self):
        self.assertEqual(Fake().call(app.read), {"greeting": "hello"})
        self.assertEqual(Fake(keys={app.KEY: b"salut"}).call(app.read), {"greeting": "salut"})

    def test_a_bad_value_is_an_error(self):
        with self.assertRaises(ValueError):
            Fake(keys={app.KEY: b"\xff"}).call(app.read)


if __name__ == "__main__":
    unittest.main()
