// Entries and their sums. Knows nothing of the host, so that plain Node can test it.

import { decode } from './utf8.js';

/** A payload's name and number; `null` if it does not read so. */
export function entryOf(payload) {
  let text;
  try {
    text = decode(payload);
  } catch {
    return null;
  }
  const [, name, digits] = /^[\t\n\f\r ]*([^\t\n\f\r ]+)[\t\n\f\r ]+([+-]?[0-9]+)[\t\n\f\r ]*$/.exec(text) ?? [];
  const number = Number(digits);
  // Beyond 2^53 a number is not what was written.
  return name !== undefined && Number.isSafeInteger(number) ? { name, number } : null;
}

/** One sum for each name; one that is too large stops growing. */
export function sumsOf(entries) {
  const most = Number.MAX_SAFE_INTEGER;
  const sums = new Map();
  for (const { name, number } of entries) {
    sums.set(name, Math.max(-most, Math.min(most, (sums.get(name) ?? 0) + number)));
  }
  return sums;
}
