import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { expect, test } from 'vitest';

const ENTRY = fileURLToPath(new URL('index.ts', import.meta.url));
/** What `docs/client.md` states, with a little room. */
const GZIP_BYTES_MAX = 43_000;

test('the SDK stays as small as it says, and its worker gets a file of its own', async () => {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    build: { write: false, rolldownOptions: { input: ENTRY, preserveEntrySignatures: 'strict' } },
  });
  const { output } = (Array.isArray(built) ? built[0]! : built) as {
    output: { fileName: string; code?: string; source?: string | Uint8Array }[];
  };
  const sizes = output.map((file) => [file.fileName, gzipSync((file.code ?? file.source)!).length] as const);
  const entry = sizes.find(([name]) => !name.includes('worker'))!;
  expect(entry[1]).toBeLessThan(GZIP_BYTES_MAX);
  expect(sizes.map(([name]) => name)).toContainEqual(expect.stringMatching(/worker.*\.js$/));
});
