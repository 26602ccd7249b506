import { afterEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { Payload } from '../protocol/payload.ts';
import { RoverSource } from '../sources/rover.ts';
import type { RoverTelemetry } from '../sources/rover-telemetry.ts';
import { Hub } from '../stream/hub.ts';
import { Topics } from '../stream/topics.ts';
import { LEASE_MS } from './drive-lease.ts';
import { DriveDesk, type LeaseStatus } from './drive.ts';
import { openRover } from './rover.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0).toReversed()) one.close();
});

function makeTopics(clock: ManualClock): Topics {
  const random = seededRandom(3);
  const topics = new Topics({
    hub: new Hub({ clock, streamsMax: 20, random }),
    clock,
    random,
    settings: {
      topicsMax: 20,
      historyMessages: 500,
      historyBytesMax: 2 ** 22,
      historyDepartedBytesMax: 2 ** 24,
      topicIdleMs: 60_000,
      readersMax: 10,
    },
  });
  open.push(topics);
  return topics;
}

/** The real vehicle behind the desk, on a clock that is moved by hand. */
function setUp() {
  const clock = new ManualClock();
  const topics = makeTopics(clock);
  const vehicle = new RoverSource({ topics, clock, random: seededRandom(1) });
  const desk = new DriveDesk({ topics, vehicle, clock, name: 'rover/1' });
  open.push(desk, vehicle);
  const newest = <T>(topic: string): T => {
    const { stream } = topics.get(topic)!;
    return stream
      .history(stream.head - 1)
      .next()
      .value!.data.payload.value() as T;
  };
  const pass = (ms: number) => {
    for (let t = 0; t < ms; t += 5) {
      clock.advance(5);
      vehicle.advance();
      desk.advance();
    }
  };
  return {
    clock,
    topics,
    desk,
    vehicle,
    pass,
    request: (action: string, driver: string, more: object = {}) =>
      topics.publish('rover/1/lease/request', { payload: Payload.of({ action, driver, ...more }) }),
    command: (value: object, timeMs = clock.now()) =>
      topics.publish('rover/1/command', { payload: Payload.of(value), timeMs }),
    lease: () => newest<LeaseStatus>('rover/1/lease'),
    state: () => newest<RoverTelemetry>('rover/1/state'),
  };
}

const ahead = (driver: string, lease: number) => ({
  action: 'drive',
  driver,
  lease,
  throttle: 1,
  steer: 0,
  expires_ms: 250,
});

describe('one driver at a time', () => {
  test('who acquires the lease drives; a second one does not, and both are told who does', () => {
    const { request, command, lease, pass, state } = setUp();
    expect(lease()).toMatchObject({ driver: null, lease: 0, lease_ms: LEASE_MS });
    request('acquire', 'anna', { name: 'Anna' });
    expect(lease()).toMatchObject({ driver: 'anna', name: 'Anna', lease: 1 });
    request('acquire', 'ben');
    expect(lease()).toMatchObject({ driver: 'anna', lease: 1 });
    command(ahead('ben', 1));
    pass(200);
    expect(state().pose.speed).toBe(0);
    command(ahead('anna', 1));
    pass(200);
    expect(state().pose.speed).toBeGreaterThan(0.1);
    expect(lease().refused.not_driver).toBe(0);
    request('renew', 'anna');
    expect(lease()).toMatchObject({ accepted: 1, refused: { not_driver: 1 } });
  });

  test('commands live as long as they say, and states tell the time of day, when the server’s clock was set', () => {
    const { clock, topics, request, command, desk, pass, state } = setUp();
    clock.stepWall(-86_400_000);
    request('acquire', 'anna');
    command(ahead('anna', 1), clock.now() - 86_400_000);
    pass(200);
    expect(state().pose.speed).toBeGreaterThan(0.1);
    command(ahead('anna', 1), clock.now() - 86_400_000 - 1_000);
    expect(desk.status().refused).toMatchObject({ expired: 1 });
    const { stream } = topics.get('rover/1/state')!;
    const [newest] = [...stream.history(stream.head - 1)];
    expect(clock.now() - 86_400_000 - newest!.data.timeMs).toBeLessThan(10);
  });

  test('a driver that falls silent loses the vehicle: brakes after 300 ms, the lease after 2 s', () => {
    const { request, command, lease, pass, state } = setUp();
    request('acquire', 'anna');
    command(ahead('anna', 1));
    pass(240);
    expect(state().drive.brake).toBe(0);
    pass(70);
    expect(state().drive.brake).toBe(1);
    pass(LEASE_MS);
    expect(lease().driver).toBeNull();
    request('acquire', 'ben');
    expect(lease()).toMatchObject({ driver: 'ben', lease: 2 });
  });

  test('the vehicle brakes at once when the lease is given back', () => {
    const { request, command, lease, pass, state } = setUp();
    request('acquire', 'anna');
    command(ahead('anna', 1));
    pass(100);
    request('release', 'anna');
    expect(lease().driver).toBeNull();
    pass(5);
    expect(state().drive.brake).toBe(1);
  });

  test('what an earlier lease allowed, a later one of the same driver does not', () => {
    const { request, command, lease, pass } = setUp();
    request('acquire', 'anna');
    request('release', 'anna');
    request('acquire', 'anna');
    command(ahead('anna', 1));
    pass(1_100);
    expect(lease().refused.lease_old).toBe(1);
  });
});

describe('commands', () => {
  test('that the link held up for longer than they are good for are refused', () => {
    const { request, command, lease, clock, pass, state } = setUp();
    request('acquire', 'anna');
    command(ahead('anna', 1), clock.now() - 250);
    pass(10);
    expect(state().drive.brake).toBe(1);
    command(ahead('anna', 1), clock.now() - 240);
    pass(5);
    expect(state().drive.brake).toBe(0);
    pass(5);
    expect(state().drive.brake).toBe(1);
    pass(1_000);
    expect(lease().refused.expired).toBe(1);
  });

  test('of a clock that is ahead are good for no longer than others', () => {
    const { request, command, clock, pass, state } = setUp();
    request('acquire', 'anna');
    command(ahead('anna', 1), clock.now() + 60_000);
    pass(245);
    expect(state().drive.brake).toBe(0);
    pass(10);
    expect(state().drive.brake).toBe(1);
  });

  test('anybody may stop the vehicle; its driver alone lets it go on', () => {
    const { request, command, pass, state } = setUp();
    request('acquire', 'anna');
    command(ahead('anna', 1));
    pass(100);
    command({ action: 'stop' });
    command(ahead('anna', 1));
    pass(100);
    expect(state()).toMatchObject({ drive: { brake: 1 }, faults: 8 });
    command({ action: 'resume', driver: 'ben', lease: 1 });
    pass(5);
    expect(state().faults).toBe(8);
    command({ action: 'resume', driver: 'anna', lease: 1 });
    command(ahead('anna', 1));
    pass(5);
    expect(state()).toMatchObject({ drive: { brake: 0 }, faults: 0 });
  });

  test.each([
    ['nothing', undefined],
    ['a list', []],
    ['no action', { throttle: 1 }],
    ['too much throttle', { ...ahead('anna', 1), throttle: 2 }],
    ['no number', { ...ahead('anna', 1), steer: NaN }],
    ['a life of an hour', { ...ahead('anna', 1), expires_ms: 3_600_000 }],
    ['an action of a prototype', { action: 'constructor', driver: 'anna' }],
  ])('that are none are counted: %s', (_, value) => {
    const { topics, desk, request } = setUp();
    request('acquire', 'anna');
    topics.publish('rover/1/command', { payload: Payload.of(value) });
    expect(desk.status()).toMatchObject({ accepted: 0, refused: { malformed: 1 } });
    topics.publish('rover/1/lease/request', { payload: Payload.of(value) });
    expect(desk.status().refused.malformed).toBe(2);
    expect(desk.status().driver).toBe('anna');
  });
});

test('the lease is told once a second to those who come later', () => {
  const { topics, pass } = setUp();
  const told = () => topics.get('rover/1/lease')!.lastSeq;
  const before = told();
  pass(3_000);
  expect(told() - before).toBe(3);
});

test('the app publishes on its own and is quiet after its end', async () => {
  const clock = new ManualClock();
  const topics = makeTopics(clock);
  const app = openRover({ topics, clock, random: seededRandom(1) });
  expect(topics.get('rover/1/lease')!.lastSeq).toBe(1);
  clock.advance(50);
  await expect.poll(() => topics.get('rover/1/state')?.lastSeq, { interval: 5 }).toBe(10);
  app.close();
  app.close();
  topics.publish('rover/1/lease/request', { payload: Payload.of({ action: 'acquire', driver: 'anna' }) });
  clock.advance(5_000);
  expect(topics.get('rover/1/lease')!.lastSeq).toBe(1);
});
