// What components have besides the language itself: see globals.js. There are no timers, no network and no files.

declare const console: Record<'debug' | 'log' | 'info' | 'warn' | 'error', (...values: unknown[]) => void>;

declare function queueMicrotask(job: () => void): void;

/** Without a delay only: a handler cannot wait. */
declare function setTimeout(job: () => void, delay?: 0): number;
declare function clearTimeout(timer: number): void;

/** UTF-8. */
declare class TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array;
}

/** UTF-8; throws where bytes are not text. */
declare class TextDecoder {
  readonly encoding: string;
  constructor(label?: string);
  decode(bytes?: Uint8Array | ArrayBuffer): string;
}
