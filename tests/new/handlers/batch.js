// A batch worker that goes wrong as the payload of its first job says.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { batch } from './sandhog.js';
import { decode } from './utf8.js';

const later = async (value) => value;

export const batchHandler = batch(async (jobs) => {
  kv.add('total:all', jobs.length);
  switch (decode(jobs[0].payload)) {
    case 'rejects':
      await later();
      throw new Error('lost');
    case 'too few':
      return [];
    case 'number':
      return jobs.map(() => 5);
    default:
      return later(jobs.map(() => null));
  }
});
