// A batch worker that goes wrong as the payload of its first job says.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { batch } from './sandhog.js';
import { decode } from './utf8.js';

async function later(jobs) {
  return jobs.map(() => null);
}

export const batchHandler = batch((jobs) => {
  kv.add('total:all', jobs.length);
  switch (decode(jobs[0].payload)) {
    case 'async':
      return later(jobs);
    case 'too few':
      return [];
    case 'number':
      return jobs.map(() => 5);
    default:
      return jobs.map(() => null);
  }
});
