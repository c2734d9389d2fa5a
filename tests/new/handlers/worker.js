// A worker that goes wrong as its payload says.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { worker } from './sandhog.js';
import { decode } from './utf8.js';

export const handler = worker((job) => {
  const change = () => kv.add('count:all', 1);
  switch (decode(job.payload)) {
    case 'async':
      return (async () => change())();
    case 'rejects':
      return Promise.reject(new Error('lost'));
    case 'returns':
      return { count: 1 };
    case 'exception':
      return undefined.x;
    default:
      change();
  }
});
