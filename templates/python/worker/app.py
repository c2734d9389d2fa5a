"""A worker that counts words.

For each word of a job's payload it adds 1 to `count:<word>`, and it pushes the number of words to the queue `word-counts`.
A payload that is no text is buried.
"""

import sandhog
from wit_world.imports import kv, queue
from words import words_of


def handle(job):
    try:
        text = job.payload.decode()
    except UnicodeDecodeError:
        raise sandhog.Bury("not text")
    words = words_of(text)
    for word in words:
        kv.add(f"count:{word}", 1)
    queue.push("word-counts", str(len(words)).encode())


Handler = sandhog.worker(handle)
