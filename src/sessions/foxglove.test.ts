import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { FoxgloveClient, type Channel, type MessageData, type StatusMessage } from '@foxglove/ws-protocol';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { ANYONE } from '../../test/support/access.ts';
import { expectBalance } from '../../test/support/telemetry-bench.ts';
import { ManualClock, systemClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { openFences } from '../fences/fences.ts';
import { boundless } from '../fences/memory-ledger.ts';
import { noLog } from '../log/log.ts';
import { Payload } from '../protocol/payload.ts';
import { Hub } from '../stream/hub.ts';
import { Topics } from '../stream/topics.ts';
import { ChannelCatalogue } from './foxglove-channels.ts';
import { FoxgloveSession } from './foxglove-session.ts';
import { FoxgloveLane, type FoxgloveLaneOptions } from './foxglove.ts';

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const action of cleanUp.splice(0).toReversed()) action();
});

async function serve(settings: Partial<FoxgloveLaneOptions['settings']> = {}, address = '127.0.0.1') {
  const hub = new Hub({ clock: systemClock, streamsMax: 1_000 });
  const topics = new Topics({
    hub,
    clock: systemClock,
    random: seededRandom(1),
    settings: {
      topicsMax: 100,
      historyMessages: 4_096,
      historyBytesMax: 1 << 26,
      historyDepartedBytesMax: 1 << 27,
      topicIdleMs: 0,
      readersMax: 100,
    },
  });
  const figures: Record<string, number | string | boolean> = { 'telemetry/topics': 0, 'server/name': 'test' };
  const fences = openFences({
    clock: systemClock,
    nameOfAddress: (name) => (name.startsWith('127.') ? undefined : name),
  });
  const lane = new FoxgloveLane({
    topics,
    clock: systemClock,
    fences,
    version: '1.2.3',
    parameters: () => figures,
    settings: {
      pingIntervalMs: 20_000,
      pongTimeoutMs: 10_000,
      elementsMax: 65_536,
      messageBytesMax: 10_000,
      queueMax: 1_000,
      socketBytesMax: 64 * 1024,
      subscriptionsMax: 4,
      sessionsMax: 10,
      rate: { messagesPerS: 10_000, bytesPerS: 1 << 24, muteMs: 100 },
      ...settings,
    },
  });
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    handleProtocols: (asked) => FoxgloveLane.subprotocols.find((name) => asked.has(name)) ?? false,
  });
  server.on('connection', (socket) => void lane.open(socket, { address, principal: ANYONE }));
  await once(server, 'listening');
  cleanUp.push(() => {
    const { published } = lane.accounts();
    lane.close();
    expectBalance(lane.accounts());
    expect(lane.accounts()).toMatchObject({ published, queued: 0 });
    topics.close();
    server.close();
  });
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { hub, topics, lane, figures, url, penalties: fences.penalties, sockets: () => [...server.clients] };
}

/** The public client, with everything that it was told. */
async function connect(url: string, subprotocol = 'foxglove.websocket.v1') {
  const ws = new WebSocket(url, [subprotocol]);
  const client = new FoxgloveClient({ ws: ws as never });
  const seen = {
    channels: new Map<string, Channel>(),
    removed: [] as number[],
    messages: [] as { id: number; timeNs: bigint; value: unknown }[],
    statuses: [] as StatusMessage[],
    times: [] as bigint[],
    parameters: [] as { id?: string | undefined; parameters: { name: string; value: unknown }[] }[],
    errors: [] as unknown[],
    info: undefined as unknown,
    advertised: 0,
    closed: undefined as number | undefined,
  };
  client.on('error', (error) => seen.errors.push(error));
  client.on('serverInfo', (info) => (seen.info = info));
  client.on('advertise', (channels) => {
    seen.advertised++;
    for (const channel of channels) seen.channels.set(channel.topic, channel);
  });
  client.on('unadvertise', (ids) => seen.removed.push(...ids));
  client.on('status', (status) => seen.statuses.push(status));
  client.on('time', ({ timestamp }) => seen.times.push(timestamp));
  client.on('parameterValues', (values) => seen.parameters.push(values));
  client.on('message', ({ subscriptionId, timestamp, data }: MessageData) => {
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
    seen.messages.push({ id: subscriptionId, timeNs: timestamp, value: JSON.parse(text) as unknown });
  });
  client.on('close', (event) => (seen.closed = event.code));
  cleanUp.push(() => ws.terminate());
  await expect.poll(() => seen.advertised > 0 || seen.closed !== undefined).toBe(true);
  const channel = async (topic: string): Promise<Channel> => {
    await expect.poll(() => seen.channels.has(topic)).toBe(true);
    return seen.channels.get(topic)!;
  };
  return { ws, client, seen, channel };
}

const publish = (topics: Topics, topic: string, value: unknown) =>
  topics.publish(topic, { payload: Payload.of(value) });

describe('with the public client', () => {
  test.each(['foxglove.websocket.v1', 'foxglove.sdk.v1'])(
    '%s: is told who is there and what there is',
    async (name) => {
      const { topics, url } = await serve();
      publish(topics, 'rover/pose', { x: 1, ok: true, tags: ['a'] });
      const { ws, seen, channel } = await connect(url, name);
      expect(ws.protocol).toBe(name);
      expect(seen.info).toMatchObject({
        name: 'sightline',
        capabilities: ['clientPublish', 'parameters', 'parametersSubscribe', 'time'],
        supportedEncodings: ['json'],
        metadata: { version: '1.2.3' },
      });
      const pose = await channel('rover/pose');
      expect(pose).toMatchObject({ encoding: 'json', schemaEncoding: 'jsonschema', schemaName: 'rover/pose' });
      expect(JSON.parse(pose.schema)).toEqual({
        type: 'object',
        properties: {
          x: { type: 'number' },
          ok: { type: 'boolean' },
          tags: { type: 'array', items: { type: 'string' } },
        },
      });
      publish(topics, 'gps', { latitude: 52, longitude: 13, altitude: 34 });
      expect((await channel('gps')).schemaName).toBe('foxglove.LocationFix');
      publish(topics, 'speed', 4.5);
      expect(JSON.parse((await channel('speed')).schema)).toEqual({
        type: 'object',
        properties: { value: { type: 'number' } },
      });
      publish(topics, 'camera', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0));
      expect((await channel('camera')).schemaName).toBe('foxglove.CompressedImage');
      expect(seen.errors).toEqual([]);
    },
  );

  test('a subscription gets the newest message and then every one, in order, with the hub’s time', async () => {
    const { topics, lane, url } = await serve();
    for (let n = -5; n <= 0; n++) publish(topics, 't', { n });
    const { client, seen, channel } = await connect(url);
    const id = client.subscribe((await channel('t')).id);
    await expect.poll(() => seen.messages.length).toBe(1);
    for (let n = 1; n <= 500; n++) publish(topics, 't', { n });
    await expect.poll(() => seen.messages.length).toBe(501);
    expect(seen.messages.map(({ value }) => value)).toEqual(Array.from({ length: 501 }, (_, n) => ({ n })));
    expect(new Set(seen.messages.map((message) => message.id))).toEqual(new Set([id]));
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    for (const { timeNs } of seen.messages) expect(Math.abs(Number(nowNs - timeNs))).toBeLessThan(60e9);
    expect(lane.report()[0]).toMatchObject({ published: 501, delivered: 501, lost: 0, queued: 0 });
    client.unsubscribe(id);
    await expect.poll(() => lane.report()[0]!.subscriptions).toBe(0);
    publish(topics, 't', { n: 501 });
    client.getParameters([], 'later');
    await expect.poll(() => seen.parameters.length).toBe(1);
    expect(seen.messages).toHaveLength(501);
  });

  test('places and poses inside a message are channels that Foxglove’s panels know', async () => {
    const { topics, url } = await serve();
    const state = (x: number) => ({
      gps: { lat: 46.5, lon: 6.5 + x, alt: 400, accuracy: 2 },
      pose: { x, y: 2, heading: Math.PI / 2 },
      name: 'r',
    });
    publish(topics, 'state', state(0));
    const { client, seen, channel } = await connect(url);
    const [gps, pose] = [await channel('state.gps'), await channel('state.pose')];
    expect([gps.schemaName, pose.schemaName]).toEqual(['foxglove.LocationFix', 'foxglove.PoseInFrame']);
    expect(Object.keys((JSON.parse(gps.schema) as { properties: object }).properties)).toContain('position_covariance');
    const ids = [client.subscribe(gps.id), client.subscribe(pose.id)];
    await expect.poll(() => seen.messages.length).toBe(2);
    publish(topics, 'state', { name: 'without' });
    topics.publish('state', { payload: Payload.of(state(1)), timeMs: 1_700_000_000_250 });
    await expect.poll(() => seen.messages.length).toBe(4);
    const last = new Map(seen.messages.map(({ id, value }) => [id, value]));
    const timestamp = { sec: 1_700_000_000, nsec: 250_000_000 };
    expect(last.get(ids[0]!)).toEqual({
      timestamp,
      frame_id: 'map',
      latitude: 46.5,
      longitude: 7.5,
      altitude: 400,
      position_covariance: [4, 0, 0, 0, 4, 0, 0, 0, 4],
      position_covariance_type: 1,
    });
    expect(last.get(ids[1]!)).toEqual({
      timestamp,
      frame_id: 'map',
      pose: {
        position: { x: 1, y: 2, z: 0 },
        orientation: { x: 0, y: 0, z: expect.closeTo(Math.SQRT1_2), w: expect.closeTo(Math.SQRT1_2) },
      },
    });
  });

  test('what a client publishes is everybody’s; a leading slash is left out', async () => {
    const { topics, lane, url } = await serve();
    const { client, seen } = await connect(url);
    const id = client.advertise({ topic: '/cmd', encoding: 'json', schemaName: 'Cmd' });
    client.sendMessage(id, Buffer.from('{"speed":2}'));
    await expect.poll(() => topics.get('cmd')?.lastSeq).toBe(1);
    expect([...topics.get('cmd')!.stream.history(0)][0]!.data.payload.value()).toEqual({ speed: 2 });
    client.unadvertise(id);
    client.sendMessage(id, Buffer.from('{"speed":3}'));
    await expect.poll(() => seen.statuses.at(-1)?.message).toMatch(/ALIAS_UNKNOWN/);
    expect(lane.report()[0]).toMatchObject({ received: 1, refused: 1 });
  });

  test('parameters are read, watched, and not written', async () => {
    const { figures, url } = await serve();
    const { client, seen } = await connect(url);
    client.getParameters(['server/name', 'nothing', '__proto__'], 'one');
    await expect
      .poll(() => seen.parameters)
      .toEqual([{ op: 'parameterValues', id: 'one', parameters: [{ name: 'server/name', value: 'test' }] }]);
    client.subscribeParameterUpdates([]);
    await expect.poll(() => seen.parameters.length).toBe(2);
    figures['telemetry/topics'] = 7;
    await expect
      .poll(() => seen.parameters[2]?.parameters, { timeout: 3_000 })
      .toEqual([{ name: 'telemetry/topics', value: 7 }]);
    client.setParameters([{ name: 'telemetry/topics', value: 1 }], 'two');
    await expect.poll(() => seen.parameters[3]).toMatchObject({ id: 'two', parameters: [{ value: 7 }] });
    expect(seen.statuses[0]!.message).toMatch(/"telemetry\/topics" can be read only \(MESSAGE_FIELD_BAD\)/);
  });

  test('the clock is told, and a topic that was forgotten goes away', async () => {
    const { topics, url } = await serve();
    publish(topics, 'brief', {});
    const { seen, channel } = await connect(url);
    const { id } = await channel('brief');
    topics.sweep();
    await expect.poll(() => seen.removed, { timeout: 5_000 }).toEqual([id]);
    expect(seen.times.length).toBeGreaterThan(3);
    expect(seen.times).toEqual(seen.times.toSorted((a, b) => Number(a - b)));
  });

  test('who reads too slowly loses the oldest messages and is told; the accounts agree', async () => {
    const { topics, lane, url } = await serve({ queueMax: 50, socketBytesMax: 16 * 1024 });
    publish(topics, 'big', { n: 0 });
    const { ws, client, seen, channel } = await connect(url);
    client.subscribe((await channel('big')).id);
    await expect.poll(() => seen.messages.length).toBe(1);
    ws.pause();
    const filling = 'x'.repeat(100_000);
    for (let n = 1; n <= 400; n++) {
      publish(topics, 'big', { n, filling });
      if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => lane.report()[0]!.lost).toBeGreaterThan(0);
    ws.resume();
    await expect.poll(() => seen.statuses.map(({ message }) => message).join(), { timeout: 5_000 }).toMatch(/dropped/);
    await expect.poll(() => lane.report()[0]!.queued).toBe(0);
    const { published, delivered, lost, expired } = lane.report()[0]!;
    expect([published, expired]).toEqual([401, 0]);
    expect(delivered + lost).toBe(401);
    await expect.poll(() => seen.messages.length).toBe(delivered);
    const numbers = seen.messages.map(({ value }) => (value as { n: number }).n);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(numbers.at(-1)).toBe(400);
    expect(seen.statuses.at(-1)).toMatchObject({ level: 1, id: expect.stringMatching(/^loss-/) });
  });

  test('a closing server says so', async () => {
    const { lane, url } = await serve();
    const { seen } = await connect(url);
    lane.close();
    await expect.poll(() => seen.closed).toBe(1001);
    expect(seen.statuses.at(-1)!.message).toMatch(/SHUTTING_DOWN/);
    expect(lane.connected).toBe(0);
  });
});

test('nobody looks into messages while no client is there, nor into bytes at all', async () => {
  const { topics, lane, url } = await serve();
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const [first, second] = [Payload.copyOf({ n: 1 }), Payload.copyOf({ gps: { lat: 1, lon: 2 } })];
  topics.publish('first', { payload: first });
  await turn();
  expect(first.packed).toBeDefined();
  const { ws, seen, channel } = await connect(url);
  expect(JSON.parse((await channel('first')).schema)).toMatchObject({ properties: { n: { type: 'number' } } });
  // Were they taken for an object, each byte would become a key.
  publish(topics, 'cloud', new Uint8Array(100_000));
  expect((await channel('cloud')).schemaName).toBe('sightline.Bytes');
  expect([...seen.channels.keys()]).toEqual(['first', 'cloud']);
  ws.terminate();
  await expect.poll(() => lane.report()).toEqual([]);
  await expect
    .poll(
      async () => {
        const payload = Payload.copyOf({ n: 1 });
        topics.publish(`t${topics.size}`, { payload });
        await turn();
        return payload.packed !== undefined;
      },
      { timeout: 5_000, interval: 200 },
    )
    .toBe(true);
  topics.publish('second', { payload: second });
  await turn();
  expect(second.packed).toBeDefined();
  const again = await connect(url);
  expect((await again.channel('second.gps')).schemaName).toBe('foxglove.LocationFix');
  expect((await again.channel('first')).id).not.toBe(seen.channels.get('first')!.id);
});

test('a server of many topics tells all of them, a few at a time', async () => {
  const { topics, url } = await serve();
  for (let n = 0; n < 100; n++) publish(topics, `t/${n}`, { n, ['z'.repeat(2_000)]: n });
  const { seen, channel } = await connect(url);
  await channel('t/99');
  expect(seen.channels.size).toBe(100);
  expect(seen.advertised).toBeGreaterThan(4);
});

test('viewers that read nothing have nothing queued for them, and are told of all channels when they read again', async () => {
  const { topics, url, sockets } = await serve({ socketBytesMax: 64 * 1024 });
  const viewers = [];
  for (let i = 0; i < 5; i++) viewers.push(await connect(url));
  for (const { ws } of viewers) ws.pause();
  const value = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`k${i}${'z'.repeat(480)}`, i]));
  // Far more than the kernel's buffers take.
  for (let n = 0; n < 95; n++) {
    for (let i = 0; i < 2; i++) topics.publish(`sch/${n}`, { payload: Payload.of({ n: i, ...value }) });
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setImmediate(resolve));
  for (const { bufferedAmount } of sockets()) expect(bufferedAmount).toBeLessThan(160 * 1024);
  for (const { ws } of viewers) ws.resume();
  for (const { seen } of viewers) await expect.poll(() => seen.channels.size).toBe(95);
});

describe('bad input is answered by a status, and the connection lives on', () => {
  test.each([
    ['no JSON', 'hello', /MESSAGE_NOT_JSON/],
    ['a list', '[]', /MESSAGE_NOT_JSON/],
    ['deep JSON', `${'['.repeat(3_000)}${']'.repeat(3_000)}`, /MESSAGE_NOT_JSON/],
    ['a prototype key', '{"op":"subscribe","__proto__":{}}', /MESSAGE_NOT_JSON/],
    ['no op', '{}', /MESSAGE_TYPE_UNKNOWN/],
    ['an op of the prototype', '{"op":"constructor"}', /MESSAGE_TYPE_UNKNOWN/],
    [
      'a service call',
      '{"op":"fetchAsset","uri":"file:///etc/passwd","requestId":1}',
      /"fetchAsset".*MESSAGE_TYPE_UNKNOWN/,
    ],
    ['a missing list', '{"op":"subscribe"}', /subscriptions.*MESSAGE_FIELD_BAD/],
    ['a negative id', '{"op":"subscribe","subscriptions":[{"id":-1,"channelId":1}]}', /MESSAGE_FIELD_BAD/],
    ['an unknown channel', '{"op":"subscribe","subscriptions":[{"id":1,"channelId":999}]}', /SUBSCRIPTION_UNKNOWN/],
    ['an unknown subscription', '{"op":"unsubscribe","subscriptionIds":[5]}', /SUBSCRIPTION_UNKNOWN/],
    ['a topic that is none', '{"op":"advertise","channels":[{"id":1,"topic":"a//b","encoding":"json"}]}', /TOPIC_BAD/],
    ['a wildcard', '{"op":"advertise","channels":[{"id":1,"topic":"a/#","encoding":"json"}]}', /TOPIC_BAD/],
    [
      'the server’s topic',
      '{"op":"advertise","channels":[{"id":1,"topic":"$x","encoding":"json"}]}',
      /TOPIC_FORBIDDEN/,
    ],
    ['a foreign encoding', '{"op":"advertise","channels":[{"id":1,"topic":"a","encoding":"cdr"}]}', /"cdr".*FIELD_BAD/],
    ['a message too large', 'x'.repeat(10_001), /MESSAGE_TOO_LARGE/],
    ['an empty binary message', Buffer.alloc(0), /MESSAGE_TYPE_UNKNOWN/],
    ['an unknown opcode', Buffer.of(9, 9), /MESSAGE_TYPE_UNKNOWN/],
    ['a cut binary message', Buffer.of(1, 2, 0), /MESSAGE_FIELD_BAD/],
    ['data for no channel', Buffer.of(1, 2, 0, 0, 0, 0x7b, 0x7d), /ALIAS_UNKNOWN/],
    ['invalid UTF-8', Buffer.of(1, 7, 0, 0, 0, 0xff, 0xfe), /PAYLOAD_BAD/],
    ['data that is not JSON', Buffer.from('\u0001\u0007\0\0\0nope'), /PAYLOAD_BAD/],
  ])('%s', async (_, data, message) => {
    const { topics, lane, url } = await serve();
    const { ws, client, seen } = await connect(url);
    ws.send('{"op":"advertise","channels":[{"id":7,"topic":"mine","encoding":"json"}]}');
    ws.send(data);
    await expect.poll(() => seen.statuses.length).toBe(1);
    expect(seen.statuses[0]).toMatchObject({ level: 2, message: expect.stringMatching(message) });
    client.sendMessage(7, Buffer.from('1'));
    await expect.poll(() => topics.get('mine')?.lastSeq).toBe(1);
    expect(lane.report()[0]).toMatchObject({ refused: 1 });
  });

  test('one bad subscription leaves the others alone; there is a limit on their number', async () => {
    const { topics, url } = await serve();
    for (let n = 0; n < 6; n++) publish(topics, `t/${n}`, { n });
    const { client, seen, channel } = await connect(url);
    const { id: first } = await channel('t/0');
    client.subscribe(999);
    client.subscribe(first);
    client.subscribe(first);
    for (let n = 1; n < 6; n++) client.subscribe((await channel(`t/${n}`)).id);
    await expect.poll(() => [seen.messages.length, seen.statuses.length]).toEqual([4, 4]);
    expect(seen.statuses.map(({ message }) => /\(([A-Z_]+)\)$/.exec(message)![1])).toEqual([
      'SUBSCRIPTION_UNKNOWN',
      'MESSAGE_FIELD_BAD',
      'SUBSCRIPTION_LIMIT_REACHED',
      'SUBSCRIPTION_LIMIT_REACHED',
    ]);
  });

  test('parameters that are asked for many times are answered once, and a message of many refused items is left at that', async () => {
    const { url, lane } = await serve({ messageBytesMax: 1e6, elementsMax: 100_000 });
    const { ws, seen } = await connect(url);
    const say = (message: object) => ws.send(JSON.stringify(message));
    const name = 'telemetry/topics';
    say({ op: 'getParameters', id: 'many', parameterNames: Array(10_000).fill(name) });
    await expect
      .poll(() => seen.parameters)
      .toEqual([{ id: 'many', parameters: [{ name, value: 0 }], op: 'parameterValues' }]);
    say({ op: 'setParameters', id: 'set', parameters: Array.from({ length: 10_000 }, () => ({ name, value: 1 })) });
    await expect.poll(() => seen.parameters.length).toBe(2);
    expect(seen.parameters[1]!.parameters).toEqual([{ name, value: 0 }]);
    expect(seen.statuses).toHaveLength(17);
    expect(seen.statuses.at(-1)!.message).toMatch(/16 items.*the other 9984 are left out/);
    expect(lane.report()[0]!.refused).toBe(10_000);
  });

  test('who publishes too fast is warned', async () => {
    const { topics, url } = await serve({ rate: { messagesPerS: 10, bytesPerS: 1_000, muteMs: 100 } });
    const { client, seen } = await connect(url);
    const id = client.advertise({ topic: 'a', encoding: 'json', schemaName: '' });
    for (let n = 0; n < 30; n++) client.sendMessage(id, Buffer.from(String(n)));
    await expect.poll(() => seen.statuses[0]?.message).toMatch(/RATE_EXCEEDED/);
    expect(topics.get('a')!.lastSeq).toBeGreaterThan(0);
  });

  test('who goes on publishing too fast is disconnected, and its address is banned after the third time', async () => {
    const { topics, penalties, url, lane } = await serve({}, '192.0.2.7');
    const clock = new ManualClock(1_000);
    const own = openFences({ clock });
    const disconnected = vi.spyOn(own.penalties, 'disconnected');
    const session = new FoxgloveSession({
      clientId: 'fast',
      principal: ANYONE,
      clock,
      fences: own,
      log: noLog(clock),
      settings: {
        pingIntervalMs: 20_000,
        pongTimeoutMs: 10_000,
        messageBytesMax: 10_000,
        elementsMax: 1_000,
        queueMax: 1_000,
        socketBytesMax: 64 * 1024,
        subscriptionsMax: 4,
        rate: { messagesPerS: 10, bytesPerS: 1_000, muteMs: 100 },
      },
      topics,
      channels: new ChannelCatalogue(topics, boundless(), () => 0, {
        onNews: () => undefined,
        onRemoved: () => undefined,
      }),
      version: '1',
      parameters: () => ({}),
      onLost: () => undefined,
    });
    const advertise = { op: 'advertise', channels: [{ id: 1, topic: 'flood', encoding: 'json' }] };
    session.onMessage(Buffer.from(JSON.stringify(advertise)), false, 1_000);
    for (let second = 1; second <= 16; second++) {
      expect(disconnected).not.toHaveBeenCalled();
      for (let n = 0; n <= 20; n++) session.onMessage(Buffer.from([1, 1, 0, 0, 0, 0x31]), true, second * 1_000);
    }
    expect(disconnected).toHaveBeenCalledOnce();

    for (let time = 1; time <= 3; time++) {
      const { seen, ws } = await connect(url);
      expect(seen.info).toMatchObject({ name: 'sightline' });
      ws.terminate();
      penalties.disconnected('foxglove', 'viewer', { address: '192.0.2.7', token: undefined });
    }
    const { seen } = await connect(url);
    await expect.poll(() => seen.closed).toBe(4_429);
    expect(seen.statuses[0]!.message).toMatch(/address 192\.0\.2\.7 may not connect.*RATE_EXCEEDED/);
    await expect.poll(() => lane.connected).toBe(0);
  });

  test('without the subprotocol there is no session', async () => {
    const { url, lane } = await serve();
    const ws = new WebSocket(url);
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    const [code] = (await once(ws, 'close')) as [number];
    expect(code).toBe(4400);
    expect(messages[0]).toMatch(/QUERY_BAD/);
    expect(lane.connected).toBe(0);
  });

  test('a connection that is lost leaves nothing behind', async () => {
    const { topics, lane, url } = await serve();
    publish(topics, 't', {});
    const { ws, client, seen, channel } = await connect(url);
    client.subscribe((await channel('t')).id);
    await expect.poll(() => seen.messages.length).toBe(1);
    expect(topics.get('t')!.stats().readers).toBe(1);
    ws.terminate();
    await expect.poll(() => lane.report()).toEqual([]);
    expect(topics.get('t')!.stats().readers).toBe(0);
  });
});
