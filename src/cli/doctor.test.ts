import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runHere } from '../../test/support/command.ts';
import { OtlpReceiver } from '../../test/support/otlp-receiver.ts';
import { changeKeys } from '../auth/key-file.ts';
import { parseGrant } from '../auth/grants.ts';
import { makeKey } from '../auth/keys.ts';
import { CHECKS, type Finding } from './doctor-checks.ts';

let folder: string;
let settings: Record<string, string | number>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-doctor-'));
  settings = {
    'models.cache_dir': join(folder, 'models'),
    'auth.keys_file': join(folder, 'keys.json'),
    'server.port': 0,
    'server.max_connections': 100,
  };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function doctor(more: typeof settings = {}): Promise<{ code: number; byCheck: Map<string, Finding> }> {
  const words = Object.entries({ ...settings, ...more }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const { code, out } = await runHere(folder, [...words, 'doctor', '--json']);
  const findings = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Finding);
  return { code, byCheck: new Map(findings.map((finding) => [finding.check, finding])) };
}

test('nothing is at fault with the defaults, and every check says what it found', async () => {
  const { code, byCheck } = await doctor();
  expect([...byCheck.keys()]).toEqual(Object.keys(CHECKS));
  expect([...byCheck.values()].filter(({ verdict }) => verdict === 'fault')).toEqual([]);
  expect(code).toBe(0);
  const { out } = await runHere(folder, ['--set', `models.cache_dir=${folder}`, '--set', 'server.port=0', 'doctor']);
  expect(out).toMatch(/^ok {7}libraries: /m);
});

test('what is at fault is said with what to do, and the exit code is 1', async () => {
  const other = createServer((_request, response) => response.end('no JSON')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  writeFileSync(join(folder, 'keys.json'), 'no keys');
  const { code, byCheck } = await doctor({
    'server.port': (other.address() as AddressInfo).port,
    'models.cache_dir': join(file, 'models'),
    'store.mode': 'file',
    'store.file': join(file, 'sightline.db'),
    'alerts.webhook_url': 'http://127.0.0.1/',
    'alerts.webhook_secret_file': file,
    'detection.model': 'nonsense',
    // Of another system.
    'fleet.hardware_decoding': process.platform === 'win32' ? 'videotoolbox' : 'd3d11va',
    'auth.jwt.jwks_url': `http://127.0.0.1:${(other.address() as AddressInfo).port}/`,
    'auth.jwt.issuer': 'x',
    'auth.jwt.audience': 'y',
  });
  other.closeAllConnections();
  other.close();
  expect(code).toBe(1);
  const faults = [...byCheck.values()].filter(({ verdict }) => verdict === 'fault');
  expect(faults.map(({ check }) => check)).toEqual([
    'model folder',
    'model',
    'hardware decoding',
    'address',
    'keys',
    'identity provider',
    'store',
    'alerts',
  ]);
  for (const { mend } of faults) expect(mend).toBeTruthy();
});

test('the collector of traces is asked', async () => {
  await using receiver = await OtlpReceiver.open();
  const found = async () =>
    (await doctor({ 'observe.traces.endpoint': receiver.endpoint })).byCheck.get('collector of traces');
  expect(await found()).toMatchObject({ verdict: 'ok', found: expect.stringContaining(receiver.endpoint) });
  expect([receiver.requests, receiver.faults]).toEqual([1, []]);
  receiver.answer = (response) => response.writeHead(404).end();
  expect(await found()).toMatchObject({ verdict: 'fault', found: expect.stringContaining('status 404') });
});

test('other machines need a key, and its file is nobody else’s to read', async () => {
  expect((await doctor({ 'server.host': '0.0.0.0' })).byCheck.get('keys')).toMatchObject({
    verdict: 'fault',
    mend: expect.stringContaining('sightline keys add'),
  });
  const { key } = makeKey({ name: 'one', grants: [parseGrant('read')], createdMs: 0 });
  await changeKeys(join(folder, 'keys.json'), (ring) => ({ ...ring, keys: [key] }));
  expect((await doctor({ 'server.host': '0.0.0.0' })).byCheck.get('keys')).toMatchObject({ verdict: 'ok' });
  chmodSync(join(folder, 'keys.json'), 0o644);
  expect((await doctor()).byCheck.get('keys')).toMatchObject({
    verdict: 'warning',
    mend: expect.stringMatching(/^chmod/),
  });
});

test('a server of ours that is there already is no fault', async () => {
  const ours = createServer((_request, response) => response.end('{"status":"ok"}')).listen(0, '127.0.0.1');
  await once(ours, 'listening');
  const { byCheck } = await doctor({ 'server.port': (ours.address() as AddressInfo).port });
  ours.closeAllConnections();
  ours.close();
  expect(byCheck.get('address')).toMatchObject({ verdict: 'ok', found: expect.stringContaining('Sightline') });
});

test('a configuration with an error ends it with the line', async () => {
  writeFileSync(join(folder, 'sightline.yaml'), 'server: { prot: 1 }\n');
  const { code, err } = await runHere(folder, ['--config', 'sightline.yaml', 'doctor']);
  expect([code, err]).toEqual([78, expect.stringContaining('sightline.yaml line 1')]);
});
