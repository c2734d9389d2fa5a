// Text to bytes and back, strictly. QuickJS has neither TextEncoder nor TextDecoder.

/** The bytes of a text; throws where it has half a character. */
export function encode(text) {
  const bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code < 0x80) {
      bytes.push(code);
    } else if (code < 0x800) {
      bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    } else if (code >= 0xd800 && code < 0xe000) {
      throw new RangeError('half a character');
    } else if (code < 0x10000) {
      bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    } else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    }
  }
  return new Uint8Array(bytes);
}

/** The text that bytes are; throws where they are none. */
export function decode(bytes) {
  // In pieces: many short strings joined at the end, not one that grows.
  const parts = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at++];
    if (first < 0x80) {
      parts.push(String.fromCharCode(first));
      continue;
    }
    const more = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
    let code = first & (0x3f >> more);
    for (let n = 0; n < more; n++) {
      const next = bytes[at++];
      if ((next & 0xc0) !== 0x80) throw new RangeError('not UTF-8');
      code = (code << 6) | (next & 0x3f);
    }
    const least = [0x80, 0x80, 0x800, 0x10000][more];
    if (more === 0 || code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      throw new RangeError('not UTF-8');
    }
    parts.push(String.fromCodePoint(code));
  }
  return parts.join('');
}
