// The host's interfaces, as `wit/` has them; what each call does, and refuses, is told there. Whole numbers are numbers
// here, exact up to 2^53. What a call refuses is thrown: an Error with a `payload` of type `Refusal`.

declare module 'sandhog:worker/kv@0.1.0' {
  export type Condition = 'always' | 'if-absent' | 'if-present';
  export interface SetOptions {
    ttlMs: number | null;
    condition: Condition;
  }
  export interface KeyPage {
    keys: string[];
    cursor: string | null;
  }
  export function get(key: string): Uint8Array | null;
  export function getMany(keys: string[]): (Uint8Array | null)[];
  export function set(key: string, value: Uint8Array): void;
  export function setWith(key: string, value: Uint8Array, options: SetOptions): boolean;
  export function setMany(entries: [string, Uint8Array][]): void;
  // `import * as kv`: `delete` is a word of the language, but `kv.delete(key)` is no trouble.
  export function exists(key: string): boolean;
  export function add(key: string, delta: number): void;
  export function increment(key: string, delta: number): number;
  export function compareAndSwap(key: string, expected: Uint8Array | null, replacement: Uint8Array | null): boolean;
  export function expire(key: string, ttlMs: number | null): boolean;
  export function ttl(key: string): number | null;
  export function listKeys(prefix: string, cursor: string | null): KeyPage;
  function remove(key: string): boolean;
  export { remove as delete };
}

declare module 'sandhog:worker/queue@0.1.0' {
  export type End = 'front' | 'back';
  export interface Uniqueness {
    key: string;
    ttlMs: number;
  }
  export interface PushOptions {
    end: End;
    delayMs: number | null;
    unique: Uniqueness | null;
  }
  export type PushOutcome = { tag: 'pushed'; val: number } | { tag: 'delayed'; val: string } | { tag: 'duplicate' };
  export function push(queue: string, payload: Uint8Array): number;
  export function pushWith(queue: string, payload: Uint8Array, options: PushOptions): PushOutcome;
  export function pushMany(queue: string, payloads: Uint8Array[]): number;
  export function pop(queue: string, end: End): Uint8Array | null;
  export function length(queue: string): number;
  export function peek(queue: string, count: number): Uint8Array[];
}

declare module 'sandhog:worker/status@0.1.0' {
  export function progress(done: number, total: number, note: string): void;
  export function setResult(value: Uint8Array): void;
}

declare module 'wasi:config/store@0.2.0-rc.1' {
  export function get(name: string): string | null;
  export function getAll(): [string, string][];
}

declare module 'wasi:logging/logging@0.1.0-draft' {
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'critical';
  export function log(level: Level, context: string, message: string): void;
}
