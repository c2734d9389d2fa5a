// bee-queue: JOBS CONCURRENCY. Jobs of 100 bytes that do nothing, removed on success.
import { createRequire } from 'module';
const Bee = createRequire(process.cwd() + '/')('bee-queue');
const [jobs, concurrency] = [+process.argv[2], +process.argv[3]];
const queue = new Bee('bench', { redis: { host: '127.0.0.1', port: +process.env.PORT }, removeOnSuccess: true });
const data = { payload: 'x'.repeat(100) };
for (let i = 0; i < jobs; i += 1000) await queue.saveAll(Array.from({ length: 1000 }, () => queue.createJob(data)));
let done = 0;
const from = performance.now();
await new Promise((resolve) => queue.process(concurrency, async () => { if (++done === jobs) resolve(); }));
console.log(Math.round(jobs / ((performance.now() - from) / 1000)));
process.exit(0);
