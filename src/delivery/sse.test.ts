import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { statusOf } from '../base/error-catalogue.ts';
import { toSightlineError } from '../base/errors.ts';
import { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import { serveEvents } from './sse.ts';

const BUFFER_BYTES_MAX = 4_096;
let hub: Hub;
let stream: Stream<string>;
let server: Server;

beforeEach(async () => {
  hub = new Hub({ clock: systemClock, streamsMax: 10 });
  stream = hub.create<string>('cam/objects', { capacity: 8 });
  server = createServer((request, response) => {
    try {
      const toEvent = (sample: { seq: number; data: string }) => ({
        event: 'result',
        data: { seq: sample.seq, text: sample.data },
      });
      serveEvents(request, response, { stream, toEvent, heartbeatMs: 50, bufferBytesMax: BUFFER_BYTES_MAX });
    } catch (thrown) {
      response.writeHead(statusOf(toSightlineError(thrown))).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  hub.close();
  server.closeAllConnections();
  server.close();
});

class EventClient {
  readonly response: IncomingMessage;
  text = '';

  constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => (this.text += chunk));
  }

  static async open(headers: Record<string, string> = {}): Promise<EventClient> {
    const { port } = server.address() as AddressInfo;
    const request = get({ port, host: '127.0.0.1', headers, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new EventClient(response);
  }

  /** `event id-position seq` of what came so far. */
  events(): string[] {
    return this.text
      .split('\n\n')
      .slice(0, -1)
      .filter((block) => block.includes('event: '))
      .map((block) => {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
        const data = JSON.parse(field('data')!) as { seq?: number; missed?: number };
        return `${field('event')} ${field('id')?.split('-')[1] ?? ''} ${data.seq ?? data.missed}`;
      });
  }

  until(condition: () => boolean): Promise<void> {
    return expect.poll(condition, { interval: 5, timeout: 10_000 }).toBe(true);
  }
}

describe('serveEvents', () => {
  test('sends the headers that keep proxies from buffering, events, and heartbeats', async () => {
    const client = await EventClient.open();
    expect(client.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-store',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
    expect(client.response.headers['content-encoding']).toBeUndefined();
    stream.publish({ data: 'a' });
    stream.publish({ data: 'b' });
    await client.until(() => client.events().length === 2 && client.text.includes(': ping'));
    expect(client.events()).toEqual(['result 0 1', 'result 1 2']);
    expect(client.text).toContain(`id: ${stream.epoch}-0\n`);
  });

  test('resumes after the last event that the client saw', async () => {
    for (const data of ['a', 'b', 'c']) stream.publish({ data });
    const client = await EventClient.open({ 'Last-Event-ID': `${stream.epoch}-0` });
    stream.publish({ data: 'd' });
    await client.until(() => client.events().length === 3);
    expect(client.events()).toEqual(['result 1 2', 'result 2 3', 'result 3 4']);
  });

  test('says how many events are beyond the history', async () => {
    for (let i = 0; i < 20; i++) stream.publish({ data: 'x' });
    const client = await EventClient.open({ 'Last-Event-ID': `${stream.epoch}-3` });
    await client.until(() => client.events().length === 9);
    expect(client.events()[0]).toBe('gap  8');
    expect(client.events()[1]).toBe('result 12 13');
  });

  test('an id of an earlier stream of that name: everything is new', async () => {
    stream.publish({ data: 'a' });
    const client = await EventClient.open({ 'Last-Event-ID': 'other-77' });
    await client.until(() => client.events().length === 1);
    expect(client.events()).toEqual(['result 0 1']);
  });

  test.each(['garbage', `${'x'.repeat(100)}-1`, 'a-b', 'a-99999999999999999'])('the id "%s" is refused', async (id) => {
    const client = await EventClient.open({ 'Last-Event-ID': id });
    expect(client.response.statusCode).toBe(400);
  });

  test('a client that does not read misses events, is told how many, and its reader holds no memory', async () => {
    const client = await EventClient.open();
    client.response.pause();
    const long = 'x'.repeat(200_000);
    let published = 0;
    const lost = () => [...stream.readers][0]!.counts().dropped['overflow']!;
    while (lost() < 5) {
      stream.publish({ data: long });
      published++;
      await new Promise((done) => setImmediate(done));
    }
    client.response.resume();
    const told = () =>
      client.events().reduce((sum, event) => sum + (event.startsWith('gap') ? Number(event.split(' ')[2]) : 1), 0);
    await client.until(() => told() === published);
    expect(client.events().some((event) => event.startsWith('gap'))).toBe(true);
  });

  test('a client that leaves frees its reader; a stream that closes ends the response', async () => {
    const [leaving, staying] = [await EventClient.open(), await EventClient.open()];
    expect([...stream.readers].length).toBe(2);
    leaving.response.destroy();
    await expect.poll(() => [...stream.readers].length).toBe(1);
    stream.close();
    await once(staying.response, 'end');
    expect([...stream.readers].length).toBe(0);
  });
});
