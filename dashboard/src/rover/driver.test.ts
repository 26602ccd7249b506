import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Driver, type DriverState } from './driver.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setUp() {
  const sent: { topic: string; data: Record<string, unknown> }[] = [];
  const states: DriverState[] = [];
  const driver = new Driver({
    id: 'me',
    send: (topic, data) => void sent.push({ topic, data: data as Record<string, unknown> }),
    insist: (topic, data) => void sent.push({ topic: `${topic}!`, data: data as Record<string, unknown> }),
    onChange: (state) => states.push(state),
  });
  const commands = () => sent.filter(({ data }) => data['action'] === 'drive').map(({ data }) => data);
  return { driver, sent, states, commands };
}

test('asks for the lease, and drives once it has it', () => {
  const { driver, sent, states, commands } = setUp();
  driver.steer({ throttle: 1, steer: 0 });
  driver.take();
  expect(sent).toEqual([{ topic: 'lease/request', data: { action: 'acquire', driver: 'me', name: 'page me' } }]);
  driver.seeLease({ driver: 'me', name: null, lease: 4 });
  vi.advanceTimersByTime(200);
  expect(commands()).toHaveLength(4);
  expect(commands()[0]).toEqual({
    action: 'drive',
    driver: 'me',
    lease: 4,
    throttle: 1,
    steer: 0,
    expires_ms: 250,
  });
  expect(states).toEqual(['asking', 'driving']);
});

test('keeps the lease while it drives, and neither renews nor commands afterwards', () => {
  const { driver, sent } = setUp();
  driver.take();
  driver.seeLease({ driver: 'me', name: null, lease: 1 });
  vi.advanceTimersByTime(1_600);
  expect(sent.filter(({ data }) => data['action'] === 'renew')).toHaveLength(3);
  driver.giveBack();
  expect(sent.at(-1)!.data['action']).toBe('release');
  const count = sent.length;
  // What the server said before the release reached it.
  driver.seeLease({ driver: 'me', name: null, lease: 1 });
  vi.advanceTimersByTime(5_000);
  expect(sent).toHaveLength(count);
  expect(driver.state).toBe('free');
});

test('a change of mind goes at once', () => {
  const { driver, commands } = setUp();
  driver.take();
  driver.seeLease({ driver: 'me', name: null, lease: 1 });
  driver.steer({ throttle: 0.5, steer: 0 });
  driver.steer({ throttle: 0.5, steer: 0 });
  expect(commands()).toHaveLength(1);
});

test('cannot drive while somebody else does, nor after the link is lost', () => {
  const { driver, commands } = setUp();
  driver.take();
  driver.seeLease({ driver: 'you', name: 'You', lease: 7 });
  expect(driver.state).toBe('other');
  driver.steer({ throttle: 1, steer: 0 });
  driver.seeLease({ driver: null, name: null, lease: 7 });
  expect(driver.state).toBe('free');
  driver.take();
  driver.seeLease({ driver: 'me', name: null, lease: 8 });
  driver.lose();
  vi.advanceTimersByTime(1_000);
  expect(commands()).toHaveLength(0);
});

test('a request that nobody answers is over after a while', () => {
  const { driver } = setUp();
  driver.take();
  driver.seeLease({ driver: null, name: null, lease: 0 });
  expect(driver.state).toBe('asking');
  vi.advanceTimersByTime(2_001);
  expect(driver.state).toBe('free');
});

test('anybody may stop; the driver lets it go on', () => {
  const { driver, sent } = setUp();
  driver.stop();
  driver.seeLease({ driver: 'you', name: 'You', lease: 7 });
  driver.resume();
  expect(sent).toEqual([
    { topic: 'command!', data: { action: 'stop' } },
    { topic: 'command', data: { action: 'resume', driver: 'me', lease: 7 } },
  ]);
});
