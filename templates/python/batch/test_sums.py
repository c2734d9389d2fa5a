"""What an entry is, and what it adds up to. `python3 -m unittest` needs nothing but Python."""

import unittest

from sums import entry_of, sums_of


class Sums(unittest.TestCase):
    def test_an_entry_is_a_name_and_a_number(self):
        self.assertEqual(entry_of(b"ada 12"), ("ada", 12))
        self.assertEqual(entry_of(b" bob\t-3\n"), ("bob", -3))
        for bad in [b"", b"ada", b"ada twelve", b"ada 1.5", b"ada 1_0", b"ada 12 13", b"ada 9999999999999999999", b"\xff 1"]:
            self.assertIsNone(entry_of(bad), bad)

    def test_there_is_one_sum_for_each_name(self):
        self.assertEqual(sums_of([("ada", 12), ("bob", 1), ("ada", 30)]), {"ada": 42, "bob": 1})


if __name__ == "__main__":
    unittest.main()
