// bundle.mjs ENTRY OUTPUT: one module of a program and its packages. `async` functions become generators (see runtime.js), and
// the lines of the author's own files are noted, so that the reason of a failure names them.

import { readFileSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { TraceMap, eachMapping } from '@jridgewell/trace-mapping';
import { build } from 'esbuild';

const [entry, output] = process.argv.slice(2);

await build({
  entryPoints: [entry],
  outfile: output,
  bundle: true,
  format: 'esm',
  target: 'es2023',
  supported: { 'async-await': false, 'async-generator': false, 'for-await': false },
  external: ['sandhog:*', 'wasi:*'],
  inject: ['./runtime.js'],
  // Packages ask for it.
  define: { 'process.env.NODE_ENV': '"production"' },
  sourcemap: 'external',
  sourcesContent: false,
  logLevel: 'warning',
}).catch(() => process.exit(1));

const lines = {};
const map = new TraceMap(readFileSync(`${output}.map`, 'utf8'));
eachMapping(map, ({ generatedLine, source, originalLine }) => {
  if (source === null || source.includes('node_modules')) return;
  const file = relative('.', resolve(output, '..', source));
  // Those of the template say nothing to the author.
  if (!['runtime.js', 'globals.js', 'sandhog.js', 'sandhog.ts', 'utf8.js', 'utf8.ts'].includes(file)) {
    lines[generatedLine] ??= `${file}:${originalLine}`;
  }
});
writeFileSync(output, `${readFileSync(output, 'utf8')}\nglobalThis.sandhogLines = ${JSON.stringify(lines)};\n`);
