import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey, makePerson } from '../../src/auth/keys.ts';
import { hashPassword } from '../../src/auth/passwords.ts';
import { runHere } from '../support/command.ts';
import { JPEGS } from '../support/jpegs.ts';
import { OtlpReceiver } from '../support/otlp-receiver.ts';
import { ServerProcess } from '../support/server-process.ts';

/**
 * Secrets of every kind go through a server and its commands, right ones and wrong ones, and none of them is in anything that comes out:
 * logs, answers, messages, figures, traces, what commands print.
 */

/** The part by which each would be known. */
const MARK = 'Zq7Secret';
const mark = (n: number) => `${MARK}${n}x`;
const PASSWORD = `${mark(1)} battery`;
const JWT = `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIx${mark(2)}.c2lnbmF0dXJl${mark(3)}`;
/** Of a camera that does not answer, with secrets of all kinds. */
const camera = (n: number) =>
  `rtsp://admin:${mark(n)}@127.0.0.1:1/user=${mark(n + 1)}_password=${mark(n + 2)}_channel=1?token=${mark(n + 3)}&psw=${mark(n + 4)}`;
const CAMERA = `rtsp://admin:${mark(4)}@camera.local:554/stream`;

let folder: string;
let provider: Server;
let receiver: OtlpReceiver;
let key: string;
let words: string[];
/** Paths of the provider. */
const asked: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-secrets-'));
  const keysFile = join(folder, 'store.json');
  const grants = [parseGrant('admin')];
  const made = makeKey({ name: 'operator', grants, createdMs: Date.now() });
  key = made.text;
  const password = await hashPassword(PASSWORD);
  const person = makePerson({ name: 'ada', grants, createdMs: Date.now(), password });
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [made.key, person] }));
  // Neither the provider nor the program that decides is of any use, so that what they are asked comes up in errors.
  provider = createServer(({ url: path }, response) => {
    asked.push(path!);
    response.writeHead(500).end(`no ${mark(5)}`);
  }).listen(0, '127.0.0.1');
  await once(provider, 'listening');
  const url = (user: string, path: string) =>
    `http://${user}@127.0.0.1:${(provider.address() as AddressInfo).port}/${path}`;
  receiver = await OtlpReceiver.open();
  const file = join(folder, 'sightline.yaml');
  writeFileSync(
    file,
    JSON.stringify({
      auth: {
        keys_file: keysFile,
        callback_url: url(`who:${mark(6)}`, `decide?key=${mark(7)}`),
        jwt: { jwks_url: url(`who:${mark(8)}`, 'jwks'), issuer: 'x', audience: 'y' },
      },
      // Something to tell at once, at places that do not take it.
      alerts: {
        memory_warning_percent: 1,
        memory_critical_percent: 1,
        for_s: 0,
        webhook_url: url(`who:${mark(17)}`, `services/${mark(18)}`),
        mqtt_url: `mqtt://who:${mark(19)}@127.0.0.1:1/${mark(24)}`,
        alertmanager_url: url(`who:${mark(25)}`, `tenant/${mark(26)}`),
      },
      observe: {
        traces: {
          endpoint: receiver.endpoint.replace('//', `//who:${mark(9)}@`),
          headers: [`x-team=${mark(10)}`],
          sample_rate: 1,
        },
      },
      profiles: { night: { observe: { traces: { headers: [`x-team=${mark(11)}`] } } } },
      cameras: { gate: { url: camera(30) } },
    }),
  );
  words = ['--config', file];
});
afterAll(async () => {
  provider?.close();
  await receiver?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Says where it was found, and of what is left of it. */
function expectNone(what: string, text: string): void {
  const secrets = [MARK, key.slice(-43, -20), key.slice(-20)];
  for (const secret of secrets) {
    const at = text.indexOf(secret);
    expect(at < 0 ? 'nothing' : `${what}: ${text.slice(Math.max(0, at - 120), at + 40)}`).toBe('nothing');
  }
}

describe.each(['json', 'text'])('a server whose log is %s', (format) => {
  test('tells no secret', async () => {
    const start = [...words, '--log-level', 'trace', '--set', `log.format=${format}`, 'serve'];
    const tickets: string[] = [];
    const told: [string, string][] = [];
    let log = '';
    {
      await using server = await ServerProcess.start(start, { OTEL_EXPORTER_OTLP_HEADERS: `a=${mark(12)}` });
      const ask = async (
        path: string,
        init: RequestInit = {},
        credential: string | undefined = key,
      ): Promise<string> => {
        const headers = { ...init.headers, ...(credential !== undefined && { Authorization: `Bearer ${credential}` }) };
        const response = await fetch(server.url + path, { ...init, headers, signal: AbortSignal.timeout(10_000) });
        const text = await response.text();
        // But for what it gives to its holder.
        if (path !== '/api/tickets') told.push([`${init.method ?? 'GET'} ${path.slice(0, 60)}`, text]);
        return text;
      };
      const json = (method: string, body: unknown): RequestInit => ({
        method,
        headers: { 'Content-Type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      });
      const wrong = key.replace(/.{3}$/, 'AAA');
      for (const credential of [key, wrong, JWT, mark(13), 'Basic x']) {
        await ask('/api/config', {}, credential);
        await ask(`/api/config?access_token=${encodeURIComponent(credential)}`, {}, '');
        await ask(`/nothing/here?access_token=${encodeURIComponent(credential)}`, {}, '');
        await ask(`/nothing/here?token=${encodeURIComponent(credential)}&x=${encodeURIComponent(CAMERA)}`);
        await ask('/api/login', json('POST', { key: credential }));
      }
      const { ticket } = JSON.parse(await ask('/api/tickets', json('POST', { path: '/api/me' }))) as { ticket: string };
      tickets.push(ticket);
      await ask(`/api/me?ticket=${ticket}`, {}, '');
      await ask(`/api/config?ticket=${ticket}`, {}, '');
      for (const password of [PASSWORD, `${PASSWORD}!`]) {
        await ask('/api/login', json('POST', { name: 'ada', password }));
        await ask('/api/login', json('POST', { name: password, password }));
        await ask('/api/login', json('POST', { name: 'ada', password, token: password }));
        await ask('/api/login', json('POST', `{"name":"ada","password":"${password}"`));
      }
      await ask('/api/config', json('PUT', { settings: { 'auth.callback_url': CAMERA } }));
      const hook = { 'alerts.webhook_url': `${mark(27)}/x`, 'alerts.mqtt_url': `x:${mark(28)}` };
      await ask('/api/config', json('PUT', { settings: hook }));
      await ask('/api/config', json('PUT', { settings: { 'streaming.max_fps': CAMERA, [`a.b=${JWT}`]: 1 } }));
      const night = { observe: { traces: { headers: [`x-team=${mark(14)}`] } } };
      await ask('/api/config/profiles/night', json('PUT', night));
      await ask('/api/config/profiles/other', json('PUT', { observe: { traces: { headers: [{ a: mark(15) }] } } }));
      await ask('/api/cameras/gate', json('PUT', { url: camera(40) }));
      await ask('/api/cameras/gate', json('PUT', { url: camera(40).replace('rtsp', 'gopher') }));
      await ask('/api/cameras/gate', json('PUT', { url: camera(40).replace('rtsp://', '') }));
      await ask('/api/cameras/gate', json('PUT', { url: 'a', password: mark(45) }));
      await ask('/api/config/cameras/yard', json('PUT', { url: camera(50) }));
      await ask('/api/config/cameras/yard', json('PUT', { url: [camera(50)], class: camera(50) }));
      const table = (text: string) => ({ method: 'POST', headers: { 'Content-Type': 'text/csv' }, body: text });
      await ask('/api/cameras', table(`id,url\nroof,${camera(60)}`));
      await ask('/api/cameras', table(`roof,${camera(60)}\ndoor,x`));
      await ask('/api/cameras', table(`id,url,class\nroof,${camera(60)},${camera(60)}\n${camera(60)},x,low`));
      await ask('/api/cameras', json('POST', [{ id: camera(60), url: camera(60), class: camera(60) }]));
      await ask('/api/cameras/test', json('POST', { url: camera(70) }));
      for (const path of ['/api/cameras', '/api/cameras/gate', '/api/cameras/roof', '/cameras/roof/still.jpg'])
        await ask(path);
      await ask(`/api/cameras?text=${MARK}`);
      await ask('/api/config/reload', { method: 'POST' });
      for (const path of [
        '/api/config',
        '/health',
        '/metrics',
        '/api/performance/metrics',
        '/api/openapi.json',
        '/api/me',
        '/api/alerts',
      ])
        await ask(path);

      const socket = async (path: string, ...messages: (string | Uint8Array)[]): Promise<void> => {
        const client = new WebSocket(
          server.ws(path),
          path.startsWith('/ws/telemetry') ? ['sightline.telemetry.v1.json'] : [],
        );
        client.on('message', (data) => told.push([`WS ${path.slice(0, 40)}`, String(data)]));
        client.on('close', (_code, reason) => told.push(['a close frame', String(reason)]));
        client.on('error', () => undefined);
        client.on('unexpected-response', (request, response) => {
          response.on('data', (data: Buffer) => told.push([`WS ${path.slice(0, 40)}`, String(data)]));
          response.on('end', () => request.destroy());
        });
        client.on('open', () => messages.forEach((message) => client.send(message)));
        const answered = () => told.some(([what]) => what === `WS ${path.slice(0, 40)}`);
        await expect.poll(answered).toBe(true);
        if (messages.some((message) => message instanceof Uint8Array))
          await expect.poll(() => told.some(([, text]) => text.includes('"type":"result"'))).toBe(true);
        client.terminate();
      };
      const jpeg = JPEGS.progressive;
      await socket(
        `/ws/video?client_id=gate&budget_ms=30000&access_token=${key}`,
        jpeg,
        `{"type":"frame","token":"${JWT}"`,
      );
      await socket(`/ws/telemetry?access_token=${wrong}`);
      await socket(`/ws/foxglove?access_token=${JWT}`);
      await socket(`/ws/video?access_token=${key}&token=${mark(16)}&model=${encodeURIComponent(CAMERA)}`);
      const all = () => server.errAtStart + server.err;
      // The three places were tried, and the log has said so.
      for (const sink of ['webhook', 'mqtt', 'alertmanager'])
        await expect.poll(() => new RegExp(`(does not get to the|"sink":") ?${sink}`).test(all())).toBe(true);
      await server.stop();
      log = all();
    }
    expect(log.length).toBeGreaterThan(500);
    for (const [what, text] of [...told, ['the log', log] as const]) {
      expectNone(what, text);
      for (const ticket of tickets) expect([what, text.includes(ticket.slice(-20))]).toEqual([what, false]);
    }
    // So that the test would see them: the secrets were really in use.
    expect(receiver.headers.at(-1)).toMatchObject({ 'x-team': mark(10) });
    expect(receiver.spans.length).toBeGreaterThan(0);
    for (const path of ['services', 'tenant']) expect(asked.some((one) => one.startsWith(`/${path}/`))).toBe(true);
    expectNone('traces', JSON.stringify([receiver.spans, receiver.resources]));
  });
});

describe('a command', () => {
  test.each<[name: string, command: string[]]>([
    ['config show', ['config', 'show']],
    ['config show --json', ['config', 'show', '--json']],
    ['doctor', ['doctor']],
    ['doctor --json', ['doctor', '--json']],
    ['keys list', ['keys', 'list', '--json']],
    ['a wrong setting', ['--set', `streaming.max_fps=${CAMERA}`, 'config', 'show']],
    ['a wrong address of a webhook', ['--set', `alerts.webhook_url=${mark(29)}`, 'config', 'show']],
    ['a setting without its name', ['--set', CAMERA, 'config', 'show']],
    ['a setting that there is not', ['--set', `auth.token=${mark(20)}`, 'config', 'show']],
    ['a profile that there is not', ['--profile', `x?token=${JWT}`, 'config', 'show']],
    ['a picture that is none', ['--debug', 'detect', CAMERA]],
    ['a server that is none', ['status', '--url', `http://me:${mark(21)}@127.0.0.1:1`]],
    ['a token that is wrong', ['--debug', 'status', '--url', 'http://127.0.0.1:1', '--token', JWT]],
    ['a recording of a server that is none', ['record', 'x.mcap', '--url', `http://me:${mark(22)}@127.0.0.1:1`]],
    ['a camera that cannot be', ['serve', '--camera', `10.0.0.7/?password=${mark(81)}`]],
    ['a camera of an odd kind', ['serve', '--camera', camera(80).replace('rtsp', 'gopher')]],
    ['adding a camera', ['cameras', 'add', 'gate', camera(80), '--url', 'http://127.0.0.1:1']],
    [
      'adding one that cannot be',
      ['cameras', 'add', 'gate', camera(80).replace('://', '//'), '--url', 'http://127.0.0.1:1'],
    ],
    ['a camera for an id', ['cameras', 'add', camera(80), camera(80)]],
    ['testing one', ['cameras', 'test', camera(80), '--url', `http://me:${mark(85)}@127.0.0.1:1`]],
    ['an unknown word', ['serve', `--password=${mark(23)}`]],
    ['an unknown flag', [`--token=${JWT}`, 'serve']],
  ])('tells no secret: %s', async (_name, command) => {
    let log = '';
    const logLine = (line: string): boolean => Boolean((log += line));
    const { out, err } = await runHere(folder, [...words, ...command], process.env, { logLine });
    expect(out + err + log).not.toBe('');
    expectNone('its output', out + err + log);
  });

  test('that a fault of the program ends tells none either, and exits with 70', async () => {
    // Nothing that anybody can do makes it fail so; a module that is loaded before does.
    const fault = join(folder, 'fault.mjs');
    writeFileSync(
      fault,
      `setTimeout(() => { throw new Error('lost ${CAMERA} of ${key}', { cause: '${JWT}' }); }, 300);`,
    );
    const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
    const child = spawn(process.execPath, ['--import', fault, command, ...words, 'serve', '--port', '0']);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect([code, text]).toEqual([
      70,
      expect.stringContaining('a fault of the program: Error: lost rtsp://[redacted]@'),
    ]);
    expectNone('its output', text);
  });
});
