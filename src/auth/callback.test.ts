import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { json } from 'node:stream/consumers';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock, wallTimeMs } from '../base/clock.ts';
import { Outbound } from '../net/outbound.ts';
import { CallbackVerifier } from './callback.ts';
import { grantText } from './grants.ts';

let clock: ManualClock;
let server: Server;
let reply: { status: number; body: string };
let questions: unknown[];
let verifier: CallbackVerifier;
beforeEach(async () => {
  clock = new ManualClock();
  questions = [];
  reply = { status: 200, body: JSON.stringify({ name: 'ada', permissions: ['read'], expires_in_s: 10 }) };
  server = createServer(async (request, response) => {
    questions.push([request.method, request.headers['content-type'], await json(request)]);
    response.writeHead(reply.status, reply.status === 302 ? { Location: '/other' } : {}).end(reply.body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const settings = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth` };
  verifier = new CallbackVerifier({ clock, outbound: new Outbound(), settings });
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

test('is told the credential and where it came from, and says who that is', async () => {
  const { grants, ...verified } = await verifier.verify('secret', '192.0.2.7');
  expect(questions).toEqual([['POST', 'application/json', { credential: 'secret', address: '192.0.2.7' }]]);
  expect(verified).toEqual({ id: 'callback:ada', name: 'ada', expiresAtMs: wallTimeMs(clock) + 10_000 });
  expect(grants.map(grantText)).toEqual(['read']);
});

test.each([401, 403])('%s: the credential does not count', async (status) => {
  reply = { status, body: '' };
  await expect(verifier.verify('x', undefined)).rejects.toMatchObject({ code: 'CREDENTIALS_BAD' });
});

test.each([
  ['a failure', 500, ''],
  ['a way elsewhere', 302, ''],
  ['no content', 204, ''],
  ['no JSON', 200, '<html>'],
  ['another form', 200, '{"name":7}'],
  ['no permission', 200, '{"name":"ada","permissions":[]}'],
  ['a permission that there is not', 200, '{"name":"ada","permissions":["fly"]}'],
  ['too much', 200, `"${'x'.repeat(100_000)}"`],
])('%s is no decision', async (_what, status, body) => {
  reply = { status, body };
  await expect(verifier.verify('x', undefined)).rejects.toMatchObject({
    code: 'CREDENTIALS_UNCHECKED',
    message: expect.stringContaining('auth.callback_url'),
  });
  expect(questions).toHaveLength(1);
});

test('it is not asked where only this machine gets an answer', async () => {
  const settings = { url: 'http://169.254.169.254/latest/meta-data/' };
  const other = new CallbackVerifier({ clock, outbound: new Outbound(), settings });
  await expect(other.verify('x', undefined)).rejects.toMatchObject({
    code: 'CREDENTIALS_UNCHECKED',
    message: expect.stringContaining('outbound.allowed_networks'),
  });
});

test('nobody there is no decision', async () => {
  server.close();
  await once(server, 'close');
  await expect(verifier.verify('x', undefined)).rejects.toMatchObject({ code: 'CREDENTIALS_UNCHECKED' });
});
