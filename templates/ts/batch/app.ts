// A batch worker: adds up numbers. A job's payload is a name and a number, `ada 12`; all jobs of a call with the same name
// become one addition to `total:<name>`. A job that does not read so is buried.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { Bury, batch } from './sandhog.js';
import { type Entry, entryOf, sumsOf } from './sums.js';

export const batchHandler = batch((jobs) => {
  const entries = jobs.map((job) => entryOf(job.payload));
  // A refusal of the host is thrown, and then nothing of this call takes place.
  for (const [name, sum] of sumsOf(entries.filter((entry): entry is Entry => entry !== null))) {
    kv.add(`total:${name}`, sum);
  }
  return entries.map((entry) => (entry === null ? new Bury('want NAME NUMBER') : null));
});
