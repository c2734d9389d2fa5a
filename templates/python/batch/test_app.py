"""What the jobs of a call change, with Redis in memory. `make test` runs it in plain Python."""

import unittest

import app
import sandhog
from sandhog.testing import Fake


class Jobs(unittest.TestCase):
    def test_there_is_one_addition_for_each_name(self):
        fake = Fake(keys={"total:ada": b"1"})
        answers = fake.run_batch(app.handle, [b"ada 12", b"ada twelve", b"ada 30"])
        self.assertEqual([type(answer) for answer in answers], [type(None), sandhog.Bury, type(None)])
        self.assertEqual(fake.keys, {"total:ada": b"43"})


if __name__ == "__main__":
    unittest.main()
