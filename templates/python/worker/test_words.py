"""What a word is. `python3 -m unittest` needs nothing but Python."""

import unittest

from words import words_of


class Words(unittest.TestCase):
    def test_words_are_lower_case_and_not_too_long(self):
        self.assertEqual(words_of("The  quick\tthe\n"), ["the", "quick", "the"])
        self.assertEqual(words_of(f"a {'x' * 65} b"), ["a", "b"])
        self.assertEqual(words_of(" \n"), [])


if __name__ == "__main__":
    unittest.main()
