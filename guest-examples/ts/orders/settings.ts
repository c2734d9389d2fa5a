// What this worker takes from the config reader `site-settings`, with defaults for a host that has none.

import * as store from 'wasi:config/store@0.2.0-rc.1';

/** The settings of one run. */
export interface Settings {
  greeting: string;
  currency: string;
  maxAmountCents: number;
}

/** No round trip: the host keeps one snapshot for the whole run. */
export function read(): Settings {
  return {
    greeting: setting('greeting', 'hello'),
    currency: setting('currency', 'EUR'),
    maxAmountCents: Number(setting('max_amount_cents', String(Number.MAX_SAFE_INTEGER))),
  };
}

function setting(name: string, otherwise: string): string {
  return store.get(`site-settings.${name}`) ?? otherwise;
}
