"""A batch worker: adds up numbers.

A job's payload is a name and a number, `ada 12`; all jobs of a call with the same name become one addition to
`total:<name>`. A job that does not read so is buried.
"""

import sandhog
from sums import entry_of, sums_of
from wit_world.imports import kv


def handle(jobs):
    """One answer for each job, in their order: none, or what is to become of it."""
    entries = [entry_of(job.payload) for job in jobs]
    # A refusal of the host is raised, and then nothing of this call takes place.
    for name, total in sums_of(entry for entry in entries if entry).items():
        kv.add(f"total:{name}", total)
    return [None if entry else sandhog.Bury("want NAME NUMBER") for entry in entries]


BatchHandler = sandhog.batch(handle)
