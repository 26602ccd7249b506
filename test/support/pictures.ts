import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchNpmFile } from '../../src/inference/npm-file.ts';

/** Real pictures for tests, on a machine that has nothing but the npm registry; and the clips beside the project, where they are. */

const cacheDir = fileURLToPath(new URL('../../node_modules/.cache/sightline-test', import.meta.url));
const sharedDir = fileURLToPath(new URL('../../../shared', import.meta.url));

const PHOTOGRAPHS = {
  'car1.jpg': '799857fdd4927e8bae3b0ae3307f62ffdc96e5548c62d03e26df00abc21020d6',
  'car2.jpg': '115235372cafcdcc2a7cb69e87f0ad1715b5450eb55c55976b03de5592c1e98f',
  // The Mona Lisa: a right hand that lies on a left arm.
  'mona.png': 'ce738b1081b1ff49ceff113da56456f02b63b939cebdd976a665918d1cc10159',
} as const;

/** A photograph with one car that fills most of it, or of a painting with a hand (package opencv@7.0.0, MIT). */
export async function photograph(name: keyof typeof PHOTOGRAPHS): Promise<Uint8Array> {
  return await readFile(await photographFile(name));
}

/** The file of it: fetched once, then kept beside the packages. */
export async function photographFile(name: keyof typeof PHOTOGRAPHS): Promise<string> {
  const path = join(cacheDir, name);
  if (existsSync(path)) return path;
  const file = `examples/files/${name}`;
  const bytes = await fetchNpmFile({ package: 'opencv', version: '7.0.0', file, sha256: PHOTOGRAPHS[name] });
  await mkdir(cacheDir, { recursive: true });
  await writeFile(`${path}.${process.pid}`, bytes);
  await rename(`${path}.${process.pid}`, path);
  return path;
}

/** A file of the folder `shared` beside the project, or undefined where there is none: then say so and skip. */
export function sharedFile(path: string): string | undefined {
  const file = join(sharedDir, path);
  return existsSync(file) ? file : undefined;
}
