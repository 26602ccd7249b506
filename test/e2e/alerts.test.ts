import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { AlertsDocument, Notification } from '../../src/alerts/documents.ts';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { AlertmanagerService } from '../support/alertmanager.ts';
import { runHere } from '../support/command.ts';
import { programPath } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A server whose memory is over what it may have, as a user sets it up: who is told, and what a restart keeps. */

const alertmanager = programPath('alertmanager');
/** Any server takes more than one percent. */
const OVER = { 'alerts.memory_warning_percent': 1, 'alerts.memory_critical_percent': 1 };
const WELL = { 'alerts.memory_warning_percent': 100, 'alerts.memory_critical_percent': 100 };
const AT_ONCE = { 'alerts.for_s': 0, 'alerts.clear_s': 0 };
/** Whatever else the machine does. */
const CPU_WELL = { 'alerts.cpu_warning_percent': 100, 'alerts.cpu_critical_percent': 100 };

let folder: string;
let hook: Server;
let hookUrl: string;
/** What has come, and what is answered. */
let got: Notification[] = [];
let status = 200;
const keys: Record<string, string> = {};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-alerts-'));
  for (const [name, grant] of [
    ['operator', 'admin'],
    ['reader', 'read:alerts'],
  ] as const) {
    const made = makeKey({ name, grants: [parseGrant(grant)], createdMs: Date.now() });
    keys[name] = made.text;
    await changeKeys(join(folder, 'keys.json'), (ring) => ({ ...ring, keys: [...ring.keys, made.key] }));
  }
  hook = createServer(async (request, response) => {
    got.push((await json(request)) as Notification);
    response.writeHead(status).end();
  }).listen(0, '127.0.0.1');
  await once(hook, 'listening');
  hookUrl = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`;
});
afterEach(() => {
  got = [];
  status = 200;
});
afterAll(() => {
  hook.closeAllConnections();
  hook.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(name: string, settings: Record<string, unknown>): Promise<ServerProcess> {
  const all = {
    'auth.keys_file': join(folder, 'keys.json'),
    'store.mode': 'file',
    'store.file': join(folder, `${name}.db`),
    'alerts.instance': name,
    ...AT_ONCE,
    ...CPU_WELL,
    ...settings,
  };
  return ServerProcess.start([
    'serve',
    ...Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${String(value)}`]),
  ]);
}

async function ask<T>({ url }: ServerProcess, path: string, key: string, method = 'GET', body?: unknown) {
  const response = await fetch(url + path, {
    method,
    headers: {
      Authorization: `Bearer ${keys[key]}`,
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as T };
}

const alertsOf = async (server: ServerProcess) => (await ask<AlertsDocument>(server, '/api/alerts', 'reader')).body;
const set = (server: ServerProcess, settings: Record<string, unknown>) =>
  ask(server, '/api/config', 'operator', 'PUT', { settings });

test('killed in the middle: what was not delivered arrives after the restart, and what fires still does', async () => {
  status = 500;
  const settings = { ...OVER, 'alerts.webhook_url': hookUrl };
  let began: { id: string; started_at: number };
  let notification: string;
  {
    await using first = await start('killed', settings);
    await expect.poll(() => got.length).toBeGreaterThan(0);
    began = (await alertsOf(first)).alerts[0]!;
    notification = got[0]!.id;
    // It is in the file as well.
    await expect.poll(() => readdirSync(folder)).toContain('killed.db');
    await expect
      .poll(async () => {
        const text = await (
          await fetch(`${first.url}/metrics`, { headers: { Authorization: `Bearer ${keys['operator']}` } })
        ).text();
        return /sightline_store_changes_queued 0/.test(text) && /changes_total\{outcome="written"\} [1-9]/.test(text);
      })
      .toBe(true);
    await first.stop('SIGKILL');
  }
  got = [];
  status = 200;
  await using second = await start('killed', settings);
  await expect.poll(() => got.map(({ id }) => id)).toEqual([notification]);
  expect(got[0]).toMatchObject({
    kind: 'firing',
    instance: 'killed',
    alert: { id: began.id, rule: 'memory', class: null },
  });
  const delivered = { sink: 'webhook', delivered: 1, queued: 0 };
  await expect.poll(async () => (await alertsOf(second)).sinks).toMatchObject([delivered]);
  const { alerts, history, kept } = await alertsOf(second);
  expect(alerts).toMatchObject([{ id: began.id, started_at: began.started_at, state: 'critical' }]);
  expect(history).toHaveLength(1);
  expect(kept).toBe(true);
  expect(second.errAtStart).not.toMatch(/Experimental/);
  await second.stop();
  // The end of the server is not the end of the alert.
  expect(got).toHaveLength(1);
});

test('what a person sees of it: status, the API, an event stream; and a silence by its author', async () => {
  await using server = await start('person', OVER);
  await expect.poll(async () => (await alertsOf(server)).alerts.length).toBe(1);
  const told = await runHere(folder, ['status', '--url', server.url, '--token', keys['operator']!]);
  expect(told.code).toBe(1);
  expect(told.out).toMatch(/ALERT_CRITICAL: the server's resident memory is [\d.]+ GiB, over [\d.]+ GiB/);

  const request = { match: { rule: 'memory' }, duration_s: 600, comment: 'known' };
  expect(await ask(server, '/api/alerts/silences', 'reader', 'POST', request)).toMatchObject({ status: 403 });
  expect(
    await ask(server, '/api/alerts/silences', 'operator', 'POST', { match: { rule: 'x' }, duration_s: 1 }),
  ).toMatchObject({
    status: 400,
    body: { error: { code: 'BODY_BAD' } },
  });
  const { body: silence } = await ask<{ id: string; author: string }>(
    server,
    '/api/alerts/silences',
    'operator',
    'POST',
    request,
  );
  expect(silence.author).toBe('operator');
  expect((await alertsOf(server)).alerts[0]!.silenced).toBe(true);
  const silenced = await runHere(folder, ['status', '--url', server.url, '--token', keys['operator']!]);
  expect(silenced.out).not.toContain('ALERT_CRITICAL');
  // Whatever this busy machine has beside it.
  expect(silenced.code).toBe(/EVENT_LOOP_SLOW|MEMORY_HIGH/.test(silenced.out) ? 1 : 0);

  const events = await fetch(`${server.url}/api/alerts/events?access_token=${keys['reader']}`);
  expect(events.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader();
  await set(server, WELL);
  let text = '';
  while (!text.includes('"resolved"')) text += (await reader.read()).value;
  expect(text).toMatch(/event: alert\ndata: \{"rule":"memory"/);
  await reader.cancel();
  expect(await ask(server, `/api/alerts/silences/${silence.id}`, 'operator', 'DELETE')).toMatchObject({ status: 200 });
  expect(await ask(server, `/api/alerts/silences/${silence.id}`, 'operator', 'DELETE')).toMatchObject({ status: 404 });
});

test.skipIf(alertmanager === undefined)('through the real Alertmanager to its receiver, with its end', async () => {
  await using waking = await AlertmanagerService.start(alertmanager!, folder);
  const told = (): string[] =>
    waking.received.map(({ status, labels }) => `${labels['alertname']} ${labels['severity']} ${status}`);
  await using server = await start('managed', {
    ...OVER,
    'alerts.alertmanager_url': waking.url,
    'alerts.alertmanager_resend_s': 1,
  });
  await expect.poll(told, { timeout: 30_000 }).toContain('SightlineMemory critical firing');
  await set(server, WELL);
  await expect.poll(told, { timeout: 30_000 }).toContain('SightlineMemory critical resolved');
});
