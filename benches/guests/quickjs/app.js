// A worker that does nothing: what a run in QuickJS costs.

export const handler = { handle() {} };
