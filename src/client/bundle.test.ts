import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { expect, test } from 'vitest';

/** What `docs/client.md` states, with a little room. */
const GZIP_BYTES_MAX = 43_000;
const CAMERAS_GZIP_BYTES_MAX = 11_000;

/** Bytes of each file, compressed. */
async function sizesOf(entry: string): Promise<(readonly [name: string, bytes: number])[]> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      rolldownOptions: {
        input: fileURLToPath(new URL(entry, import.meta.url)),
        preserveEntrySignatures: 'strict',
      },
    },
  });
  const { output } = (Array.isArray(built) ? built[0]! : built) as {
    output: { fileName: string; code?: string; source?: string | Uint8Array }[];
  };
  return output.map((file) => [file.fileName, gzipSync((file.code ?? file.source)!).length] as const);
}

test('the SDK stays as small as it says, and its worker gets a file of its own', async () => {
  const sizes = await sizesOf('index.ts');
  const entry = sizes.find(([name]) => !name.includes('worker'))!;
  expect(entry[1]).toBeLessThan(GZIP_BYTES_MAX);
  expect(sizes.map(([name]) => name)).toContainEqual(expect.stringMatching(/worker.*\.js$/));
});

test('so do the cameras, which are an entry of their own', async () => {
  const sizes = await sizesOf('cameras.ts');
  expect(sizes).toHaveLength(1);
  expect(sizes[0]![1]).toBeLessThan(CAMERAS_GZIP_BYTES_MAX);
});
