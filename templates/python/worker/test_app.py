"""What a job changes, with Redis in memory. `make test` runs it in plain Python."""

import unittest

import app
import sandhog
from sandhog.testing import Fake


class Jobs(unittest.TestCase):
    def test_words_are_counted_and_their_number_is_pushed(self):
        fake = Fake(keys={"count:the": b"4"})
        fake.run(app.handle, b"The quick\tthe\n")
        self.assertEqual(fake.keys, {"count:the": b"6", "count:quick": b"1"})
        self.assertEqual(fake.queues, {"word-counts": [b"3"]})

    def test_what_is_not_text_is_buried(self):
        with self.assertRaisesRegex(sandhog.Bury, "not text"):
            Fake().run(app.handle, b"\xff\xfe")


if __name__ == "__main__":
    unittest.main()
