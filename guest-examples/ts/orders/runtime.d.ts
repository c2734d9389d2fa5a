// Types of runtime.js.

/** What a promise becomes, or what else `answer` is. Throws what it is rejected with, and if nothing can settle it. */
export function settle<T>(answer: T | PromiseLike<T>): T;

/** Begins `Math.random` anew, with a call of the host. Not for secrets. */
export function reseed(text: string): void;

/** Where in the author's files an error was made: ` (app.ts:12)`, or nothing. */
export function place(error: unknown): string;
