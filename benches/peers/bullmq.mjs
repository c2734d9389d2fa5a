// BullMQ: JOBS CONCURRENCY [ledger]. Jobs of 100 bytes, removed on completion, that do nothing, or what the example `ledger`
// does: read a key, add to a balance, push a receipt, set a marker if there is none.
import { createRequire } from 'module';
const require = createRequire(process.cwd() + '/');
const { Queue, Worker } = require('bullmq');
const Redis = require('ioredis');
const [jobs, concurrency, ledger] = [+process.argv[2], +process.argv[3], process.argv[4] === 'ledger'];
const connection = { host: '127.0.0.1', port: +process.env.PORT, maxRetriesPerRequest: null };
const queue = new Queue('bench', { connection });
const redis = new Redis(connection);
for (let i = 0; i < jobs; i += 1000) {
  const data = (n) => String(i + n).padStart(100, '0');
  const opts = { removeOnComplete: true };
  await queue.addBulk(Array.from({ length: 1000 }, (_, n) => ({ name: 'job', data: data(n), opts })));
}
await redis.set('rate', 3);
let done = 0;
const book = (number) =>
  Promise.all([
    redis.get('rate'),
    redis.incrby(`balance:${number % 16}`, 3 * number),
    redis.rpush('receipts', number),
    redis.set(`marker:${number}`, 1, 'NX'),
  ]);
const from = performance.now();
await new Promise((resolve) => {
  const handle = async (job) => {
    if (ledger) await book(+job.data);
    if (++done === jobs) resolve();
  };
  return new Worker('bench', handle, { connection, concurrency });
});
console.log(Math.round(jobs / ((performance.now() - from) / 1000)));
process.exit(0);
