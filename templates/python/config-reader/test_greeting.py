"""What a greeting may be. `python3 -m unittest` needs nothing but Python."""

import unittest

from greeting import checked


class Greetings(unittest.TestCase):
    def test_without_a_key_there_is_a_default(self):
        self.assertEqual(checked("k", None), "hello")
        self.assertEqual(checked("k", b"salut"), "salut")

    def test_a_bad_value_names_its_key(self):
        for value, said in [
            (b"\xff", "`k` is not UTF-8 text"),
            (b"x" * 201, "`k` has 201 bytes, not 200 at the most"),
        ]:
            with self.assertRaises(ValueError) as error:
                checked("k", value)
            self.assertEqual(str(error.exception), said)


if __name__ == "__main__":
    unittest.main()
