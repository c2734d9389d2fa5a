// A worker that goes wrong as its payload says.

import * as kv from 'sandhog:worker/kv@0.1.0';
import { Bury, worker } from './sandhog.js';
import { decode } from './utf8.js';

const change = () => kv.add('count:all', 1);
const later = async (value) => value;

async function* numbers() {
  yield later(1);
  yield 2;
}

async function sum() {
  let sum = 0;
  for await (const number of numbers()) sum += number;
  return sum;
}

export const handler = worker(async (job) => {
  switch (decode(job.payload)) {
    case 'awaits':
      if ((await sum()) === 3) change();
      return;
    case 'all at once': {
      const [one, two] = await Promise.all([later(1), new Promise((done) => setTimeout(() => done(2)))]);
      queueMicrotask(() => one + two === 3 && change());
      return;
    }
    case 'rejects':
      await later();
      throw new Error('lost');
    case 'buries':
      await later();
      throw new Bury('not wanted');
    case 'never':
      return new Promise(() => {});
    case 'sleeps':
      return new Promise((done) => setTimeout(done, 1000));
    case 'denied':
      await later();
      return void kv.add('secret', 1);
    case 'returns':
      return { count: 1 };
    case 'exception':
      return JSON.parse('{');
    default:
      console.log('a good job', { of: job.id });
      change();
  }
});
