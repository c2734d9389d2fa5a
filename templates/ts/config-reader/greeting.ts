// The greeting, checked. Knows nothing of the host, so that plain Node can test it.

import { decode } from './utf8.js';

/** Longest greeting. */
const BYTES_MAX = 200;

/** The greeting of what `key` holds; throws where that is none, so that workers never see a bad one. */
export function checked(key: string, value: Uint8Array | null): string {
  if (value == null) return 'hello';
  if (value.length > BYTES_MAX) {
    throw new RangeError(`\`${key}\` has ${value.length} bytes, not ${BYTES_MAX} at the most`);
  }
  try {
    return decode(value);
  } catch {
    throw new RangeError(`\`${key}\` is not UTF-8 text`);
  }
}
