// A worker that counts words: for each word of a job's payload it adds 1 to `count:<word>`, and it pushes the number of
// words to the queue `word-counts`. A payload that is no text is buried.

import * as kv from 'sandhog:worker/kv@0.1.0';
import * as queue from 'sandhog:worker/queue@0.1.0';
import { Bury, type Job, worker } from './sandhog.js';
import { decode, encode } from './utf8.js';
import { wordsOf } from './words.js';

export const handler = worker((job) => {
  const words = wordsOf(textOf(job));
  for (const word of words) {
    kv.add(`count:${word}`, 1);
  }
  queue.push('word-counts', encode(String(words.length)));
});

function textOf(job: Job): string {
  try {
    return decode(job.payload);
  } catch {
    throw new Bury('not text');
  }
}
