// A worker that does nothing: what a run in SpiderMonkey costs.

export const handler = { handle() {} };
