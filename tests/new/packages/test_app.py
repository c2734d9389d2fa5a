import unittest

import app
from sandhog.testing import Fake


class Days(unittest.TestCase):
    def test_the_packages_are_there(self):
        fake = Fake()
        fake.run(app.handle, b"2024-01-31")
        self.assertEqual(fake.queues, {"word-counts": [b"2024-02-29"]})
