// The words of a text. Knows nothing of the host, so that plain Node can test it.

import { encode } from './utf8.js';

/** Longest word; what is longer is passed over. */
const WORD_BYTES_MAX = 64;

/** The words between white space (that of ASCII), in lower case. */
export function wordsOf(text: string): string[] {
  const words = text.split(/[\t\n\f\r ]+/).filter((word) => word !== '');
  return words.map((word) => word.toLowerCase()).filter((word) => encode(word).length <= WORD_BYTES_MAX);
}
