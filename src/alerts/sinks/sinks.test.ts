import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createHmac } from 'node:crypto';
import mqtt from 'mqtt';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { alertOf, notificationOf } from '../../../test/support/alerts.ts';
import { programPath } from '../../../test/support/programs.ts';
import { Service } from '../../../test/support/service.ts';
import { ManualClock } from '../../base/clock.ts';
import { loadConfig } from '../../config/load.ts';
import { Alertmanager } from './alertmanager.ts';
import { Outbound } from '../../net/outbound.ts';
import { retryAfterMs } from './http.ts';
import { MqttSink } from './mqtt.ts';
import { sinksOf } from './sinks.ts';
import { Webhook } from './webhook.ts';

/** Places that are told, as they are, and as they should not be. */

const never = new AbortController().signal;
const outbound = new Outbound();
const clock = new ManualClock(Date.UTC(2026, 0, 1));
const TIMEOUT_MS = 150;

let server: Server;
let url: string;
let got: { path: string; headers: IncomingMessage['headers']; body: string }[];
let answer: (response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer(async (request, response) => {
    got.push({ path: request.url!, headers: request.headers, body: await text(request) });
    answer(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  got = [];
  answer = (response) => response.end('ok');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** The one in docs/alerts.md, as it stands there. */
async function documentedCheck() {
  const page = readFileSync(new URL('../../../docs/alerts.md', import.meta.url), 'utf8');
  const [, code] = /```js\n([^]*?)```/.exec(page)!;
  const module = `${code}\nexport { isFromSightline };`;
  const { isFromSightline } = (await import(
    /* @vite-ignore */ `data:text/javascript,${encodeURIComponent(module)}`
  )) as {
    isFromSightline(secret: string, header: string, body: string, nowS: number): boolean;
  };
  return isFromSightline;
}

const webhook = (more: { url?: string; secret?: string } = {}) =>
  new Webhook({ outbound, clock, url: `${url}/hook`, secret: undefined, timeoutMs: TIMEOUT_MS, ...more });

describe('a webhook', () => {
  test('gets the notification, its id and a signature that anybody who has the secret can check', async () => {
    const secret = 'a secret of some length';
    const notification = notificationOf('n1');
    expect(await webhook({ secret }).send(notification, never)).toEqual({ kind: 'delivered' });
    const [{ path, headers, body } = undefined!] = got;
    expect(path).toBe('/hook');
    expect(JSON.parse(body)).toEqual(notification);
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'sightline-notification': 'n1' });
    // As docs/alerts.md tells it.
    const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['sightline-signature']))!;
    expect(Number(t)).toBe(Date.UTC(2026, 0, 1) / 1_000);
    expect(v1).toBe(createHmac('sha256', secret).update(`${t}.${body}`).digest('hex'));
    const check = await documentedCheck();
    const header = String(headers['sightline-signature']);
    const nowS = Date.UTC(2026, 0, 1) / 1_000;
    expect(check(secret, header, body, nowS + 299)).toBe(true);
    expect(check(secret, header, body, nowS + 301)).toBe(false);
    expect(check(secret, header, `${body} `, nowS)).toBe(false);
    expect(check('another secret', header, body, nowS)).toBe(false);
    expect(check(secret, '', body, nowS)).toBe(false);
    await webhook().send(notification, never);
    expect(got[1]!.headers).not.toHaveProperty('sightline-signature');
  });

  test.each([
    [200, 'delivered'],
    [204, 'delivered'],
    [400, 'refused'],
    [401, 'refused'],
    [404, 'refused'],
    [410, 'refused'],
    [408, 'failed'],
    [429, 'failed'],
    [500, 'failed'],
    [503, 'failed'],
  ])('status %i: %s', async (status, kind) => {
    answer = (response) => response.writeHead(status).end();
    expect(await webhook().send(notificationOf('n'), never)).toMatchObject({ kind });
  });

  test('that leads elsewhere, in a circle or not, is not followed', async () => {
    answer = (response) => response.writeHead(307, { Location: `${url}/hook` }).end();
    expect(await webhook().send(notificationOf('n'), never)).toMatchObject({ kind: 'refused' });
    expect(got).toHaveLength(1);
  });

  test('that hangs, or sends without an end, has its time and its bytes', async () => {
    answer = () => undefined;
    expect(await webhook().send(notificationOf('n'), never)).toEqual({
      kind: 'failed',
      reason: 'no answer within 0.15 s',
    });
    answer = (response) => {
      const timer = setInterval(() => response.write('x'.repeat(10_000)), 1);
      response.on('close', () => clearInterval(timer));
    };
    expect(await webhook().send(notificationOf('n'), never)).toMatchObject({
      kind: 'failed',
      reason: expect.stringMatching(/more than 16384 bytes/),
    });
  });

  test('that says when to come back', async () => {
    answer = (response) => response.writeHead(503, { 'Retry-After': '120' }).end();
    expect(await webhook().send(notificationOf('n'), never)).toMatchObject({ kind: 'failed', afterMs: 120_000 });
    expect(retryAfterMs('Thu, 01 Jan 2026 00:01:00 GMT', Date.UTC(2026, 0, 1))).toBe(60_000);
    for (const odd of [null, 'soon', '-5']) expect(retryAfterMs(odd, 0)).toBeUndefined();
  });

  test.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/',
    'http://100.100.100.200/',
    'http://[fd00:ec2::254]/',
  ])('at %s is not called', async (address) => {
    const outcome = await webhook({ url: address }).send(notificationOf('n'), never);
    expect(outcome).toMatchObject({ kind: 'refused', reason: expect.stringMatching(/is called only if/) });
  });

  test('where nobody listens: it is tried again', async () => {
    const outcome = await webhook({ url: 'http://127.0.0.1:1/' }).send(notificationOf('n'), never);
    expect(outcome).toMatchObject({ kind: 'failed', reason: expect.stringMatching(/ECONNREFUSED|bad port/) });
  });
});

describe('an Alertmanager', () => {
  const open = () =>
    new Alertmanager({ outbound, clock, url, instance: 'here', timeoutMs: TIMEOUT_MS, resendMs: 60_000 });
  const posted = () =>
    (JSON.parse(got.at(-1)!.body) as { labels: Record<string, string>; endsAt: string }[]).map(({ labels, endsAt }) => [
      labels['severity'],
      (Date.parse(endsAt) - Date.UTC(2026, 0, 1)) / 1_000,
    ]);

  test('gets labels, annotations and times; another severity ends the earlier one; the end ends it', async () => {
    const sink = open();
    const warning = alertOf({ state: 'warning' });
    await sink.send(notificationOf('n', { alert: warning }), never);
    expect(got[0]!.path).toBe('/api/v2/alerts');
    expect(JSON.parse(got[0]!.body)).toEqual([
      {
        labels: { alertname: 'SightlineLatency', severity: 'warning', class: 'normal', instance: 'here' },
        annotations: { summary: warning.summary, alert_id: 'alert', streams: '1: gate (90 of 100)' },
        startsAt: '2026-01-01T00:00:00.000Z',
        endsAt: '2026-01-01T00:04:00.000Z',
      },
    ]);
    await sink.send(notificationOf('n', { alert: alertOf(), previous: 'warning' }), never);
    expect(posted()).toEqual([
      ['warning', 0],
      ['critical', 240],
    ]);
    const over = alertOf({ state: 'resolved' });
    await sink.send(notificationOf('n', { alert: over, kind: 'resolved', previous: 'critical' }), never);
    expect(posted()).toEqual([['critical', 0]]);
  });

  test('is told again and again of what goes on, and of one thing at a time', async () => {
    const sink = open();
    sink.refresh([alertOf()], 0);
    sink.refresh([alertOf()], 30_000);
    await expect.poll(() => got.length).toBe(1);
    // The answer is there when the next one is due.
    await expect
      .poll(() => {
        sink.refresh([alertOf()], 60_000);
        return got.length;
      })
      .toBe(2);
    sink.refresh([], 200_000);
    expect(got).toHaveLength(2);
    sink.close();
  });
});

const mosquitto = programPath('mosquitto');

describe('an MQTT broker', () => {
  const open = (address: string, timeoutMs = 5_000) =>
    new MqttSink({
      url: address,
      topicPrefix: 'site/a',
      username: undefined,
      password: undefined,
      timeoutMs,
      outbound,
    });

  test.skipIf(mosquitto === undefined)(
    'gets each, confirms it, keeps none; after a fault it is connected anew',
    async () => {
      await using broker = await Service.start(mosquitto!, (port) => ['-p', String(port)], undefined);
      const address = broker.url.replace('http', 'mqtt');
      const reader = await mqtt.connectAsync(address);
      const read: [string, { id: string }, boolean, number][] = [];
      reader.on('message', (topic, payload, { retain, qos }) => {
        read.push([topic, JSON.parse(payload.toString()) as { id: string }, retain, qos]);
      });
      await reader.subscribeAsync('site/a/alerts/#', { qos: 1 });
      const sink = open(address);
      expect(await sink.send(notificationOf('n1'), never)).toEqual({ kind: 'delivered' });
      const cpu = alertOf({ rule: 'cpu', class: null });
      expect(await sink.send(notificationOf('n2', { alert: cpu }), never)).toEqual({ kind: 'delivered' });
      await expect.poll(() => read.length).toBe(2);
      expect(read.map(([topic, { id }, retain, qos]) => [topic, id, retain, qos])).toEqual([
        ['site/a/alerts/latency/normal', 'n1', false, 1],
        ['site/a/alerts/cpu/server', 'n2', false, 1],
      ]);
      const given = new AbortController();
      given.abort();
      expect(await sink.send(notificationOf('n3'), given.signal)).toMatchObject({ kind: 'failed' });
      expect(await sink.send(notificationOf('n4'), never)).toEqual({ kind: 'delivered' });
      await expect.poll(() => read.at(-1)![1].id).toBe('n4');
      sink.close();
      await reader.endAsync(true);
    },
  );

  test('that is not there, says nothing, or may not be called', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const hanging = open(`mqtt://127.0.0.1:${port}`);
    expect(await hanging.send(notificationOf('n'), AbortSignal.timeout(100))).toEqual({
      kind: 'failed',
      reason: 'no answer in time',
    });
    hanging.close();
    silent.close();
    expect(await open('mqtt://127.0.0.1:1').send(notificationOf('n'), never)).toMatchObject({
      kind: 'failed',
      reason: expect.stringMatching(/ECONNREFUSED/),
    });
    expect(await open('mqtt://169.254.1.1').send(notificationOf('n'), never)).toMatchObject({ kind: 'refused' });
  });
});

test('the places are those of the configuration; a secret that cannot be read, or is none, is told by its key', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-secret-'));
  try {
    const file = join(folder, 'secret');
    const of = (flags: Record<string, unknown>) =>
      sinksOf(loadConfig({ flags }).alerts, { clock, outbound, instance: 'here' });
    const hook = { 'alerts.webhook_url': 'http://127.0.0.1/', 'alerts.webhook_secret_file': file };
    expect(() => of(hook)).toThrow(expect.objectContaining({ code: 'CONFIG_VALUE_BAD' }));
    writeFileSync(file, 'short\n');
    expect(() => of(hook)).toThrow(/alerts.webhook_secret_file: .* has not 16 to/);
    writeFileSync(file, 'long enough to be a secret\n');
    const all = of({ ...hook, 'alerts.mqtt_url': 'mqtt://h', 'alerts.alertmanager_url': 'http://127.0.0.1:9093' });
    expect(all.map(({ name }) => name)).toEqual(['webhook', 'mqtt', 'alertmanager']);
    expect(of({})).toEqual([]);
    expect(() => of({ 'alerts.webhook_url': 'ftp://h' })).toThrow(/no http: or https:/);
    expect(() => of({ 'alerts.mqtt_url': 'http://h' })).toThrow(/no mqtt:/);
    expect(() => of({ 'alerts.mqtt_url': 'mqtt://h', 'alerts.mqtt_topic_prefix': 'a/#' })).toThrow(/wildcard/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
