// Entries and their sums. Knows nothing of the host, so that plain Node can test it.

import { decode } from './utf8.js';

/** A name and its number. */
export interface Entry {
  name: string;
  number: number;
}

/** A payload's name and number; `null` if it does not read so. */
export function entryOf(payload: Uint8Array): Entry | null {
  let text: string;
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
export function sumsOf(entries: Entry[]): Map<string, number> {
  const most = Number.MAX_SAFE_INTEGER;
  const sums = new Map<string, number>();
  for (const { name, number } of entries) {
    sums.set(name, Math.max(-most, Math.min(most, (sums.get(name) ?? 0) + number)));
  }
  return sums;
}
