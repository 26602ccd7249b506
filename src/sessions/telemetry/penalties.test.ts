import { expect, test, type TestContext } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { ManualClock } from '../../base/clock.ts';

const RATE = { messagesPerS: 100, bytesPerS: 1e9, muteMs: 2_000 };

/** A lane of its own for each test: a slowed client is not read for half a second each time, and the tests wait for that side by side. */
async function begin(context: TestContext) {
  const clock = new ManualClock();
  const bench = await new TelemetryBench({ rate: RATE }, { clock }).start();
  context.onTestFinished(() => bench.stop());
  /** One message more than a second allows, a second after the last time. */
  const offend = async (client: TelemetryTestClient): Promise<void> => {
    clock.advance(1_000);
    for (let n = 0; n <= RATE.messagesPerS; n++) client.send({ type: 'publish', topic: 'flood', data: n });
    await client.settled();
  };
  return { clock, bench, offend };
}

const penalties = (client: TelemetryTestClient) => client.of('notice').map(({ penalty }) => penalty);

test.concurrent('who publishes too fast is warned, slowed, muted and disconnected; others notice nothing', async (context) => {
  const { bench, offend } = await begin(context);
  const reader = await TelemetryTestClient.open(bench.url());
  await reader.subscribe('calm', 'all');
  const calm = await TelemetryTestClient.open(bench.url('?client_id=calm'));
  const fast = await TelemetryTestClient.open(bench.url('?client_id=fast'));
  let published = 0;
  while (fast.closed === undefined && penalties(fast).length < 20) {
    await offend(fast);
    calm.send({ type: 'publish', topic: 'calm', data: ++published });
    await reader.until(() => reader.received.length === published);
  }
  const slow = Array.from({ length: 10 }, () => 'slow');
  const mute = Array.from({ length: 4 }, () => 'mute');
  expect(penalties(fast)).toEqual(['warn', ...slow, ...mute]);
  expect(fast.closed).toBe(4_429);
  // Told once a second while muted, and at the end.
  expect(fast.errors.length).toBeGreaterThan(1);
  expect(new Set(fast.errors)).toEqual(new Set(['RATE_EXCEEDED']));
  const { published: accepted, refused_publications: refused } = bench.session('fast');
  // What came after the last straw was not looked at any more.
  expect(accepted + refused).toBeGreaterThan(15 * (RATE.messagesPerS + 1));
  expect(accepted + refused).toBeLessThanOrEqual(16 * (RATE.messagesPerS + 1));
  expect(refused).toBeGreaterThan(RATE.messagesPerS);
  expect(bench.topics.get('flood')!.lastSeq).toBe(accepted);
  expect(bench.session('calm')).toMatchObject({ published, refused_publications: 0 });
  await Promise.all([reader.close(), calm.close()]);
});

test.concurrent('what is refused while muted is told with its count, the last of it when the client is calm again', async (context) => {
  const { clock, bench, offend } = await begin(context);
  const fast = await TelemetryTestClient.open(bench.url('?client_id=fast'));
  while (!penalties(fast).includes('mute')) await offend(fast);
  await offend(fast);
  clock.advance(1_000);
  const told = () => fast.of('error').reduce((sum, { count = 0 }) => sum + count, 0);
  const refused = () => bench.session('fast').refused_publications;
  await fast.until(() => refused() > 0 && told() === refused());
  expect(bench.session('fast').published + told()).toBe(bench.topics.get('flood')!.lastSeq + refused());
  expect(fast.of('error').length).toBeLessThan(10);
  await fast.close();
});

test.concurrent('whoever floods under the name of another one while that is away gets nobody but itself banned', async (context) => {
  const { clock, bench, offend } = await begin(context);
  const real = await TelemetryTestClient.open(bench.url('?client_id=rover7'));
  const { token: realToken } = real.welcome;
  real.send({ type: 'publish', topic: 'pose', data: 0 });
  await real.settled();
  real.socket.terminate();
  await context.expect.poll(() => bench.session('rover7').connected).toBe(false);
  clock.advance(3_000);
  let token = '';
  for (let time = 1; time <= 3; time++) {
    const flooder = await TelemetryTestClient.open(bench.url(`?client_id=rover7${time > 1 ? `&token=${token}` : ''}`));
    token = flooder.welcome.token;
    while (flooder.closed === undefined) await offend(flooder);
  }
  const flooder = await TelemetryTestClient.open(bench.url(`?client_id=rover7&token=${token}`));
  await flooder.until(() => flooder.closed === 4_429);
  const back = await TelemetryTestClient.open(bench.url(`?client_id=rover7&token=${realToken}`));
  expect(back.of('welcome')).toHaveLength(1);
  back.send({ type: 'publish', topic: 'pose', data: 1 });
  await back.settled();
  expect(back.errors).toEqual([]);
  expect(bench.topics.get('pose')!.lastSeq).toBe(2);
  await back.close();
  // So may anybody who asks for the name when it is free.
  await context.expect.poll(() => bench.session('rover7').connected).toBe(false);
  clock.advance(3_000);
  const newcomer = await TelemetryTestClient.open(bench.url('?client_id=rover7'));
  expect(newcomer.of('welcome')).toHaveLength(1);
  await newcomer.close();
});

test.concurrent('who was disconnected for it three times may not connect for a while, and then again', async (context) => {
  const { clock, bench, offend } = await begin(context);
  const url = bench.url('?client_id=fast');
  let token = '';
  for (let time = 1; time <= 3; time++) {
    const client = await TelemetryTestClient.open(time === 1 ? url : `${url}&token=${token}`);
    token = client.welcome.token;
    // Strikes are the session's: with the fifteen of the first time each further one disconnects.
    while (client.closed === undefined) await offend(client);
    expect(client.closed).toBe(4_429);
  }
  const refused = await TelemetryTestClient.open(`${url}&token=${token}`);
  await refused.until(() => refused.closed !== undefined);
  expect(refused.of('welcome')).toEqual([]);
  expect(refused.of('error')).toMatchObject([
    { code: 'RATE_EXCEEDED', message: 'this session may not connect for 60 s' },
  ]);
  expect(bench.penalties.refusals('telemetry')).toBe(1);
  const other = await TelemetryTestClient.open(bench.url('?client_id=other'));
  expect(other.of('welcome')).toHaveLength(1);
  clock.advance(60_000);
  const back = await TelemetryTestClient.open(bench.url('?client_id=fast-again'));
  expect(back.of('welcome')).toHaveLength(1);
  await Promise.all([other.close(), back.close()]);
});
