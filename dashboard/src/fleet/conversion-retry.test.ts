import type { CamerasSession } from 'sightline/client/cameras';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ConversionRetry, retryMs } from './conversion-retry.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A session whose views the server answers as the test says. */
function setUp() {
  const asked: { readonly options: object; readonly emit: (event: string, value?: object) => void }[] = [];
  let open = 0;
  const session = {
    state: 'open',
    open: (_camera: string, options: object) => {
      const listeners = new Map<string, (value: object) => void>();
      open++;
      let isClosed = false;
      const end = () => {
        if (!isClosed) open--;
        isClosed = true;
      };
      const emit = (event: string, value: object = {}) => {
        if (event === 'closed') end();
        listeners.get(event)?.(value);
      };
      asked.push({ options, emit });
      return { on: (event: string, listener: (value: object) => void) => listeners.set(event, listener), close: end };
    },
  } as unknown as CamerasSession;
  let converted = 0;
  const retry = new ConversionRetry('gate', () => void converted++);
  const refuse = () => asked.at(-1)!.emit('closed', { error: new Error('there is no place') });
  return { session, retry, asked, refuse, open: () => open, converted: () => converted };
}

test('pauses grow up to a minute, and differ from page to page', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 50].map((tries) => retryMs(tries, 0.5) / 1000)).toEqual([2, 4, 8, 16, 32, 60, 60, 60]);
  expect([retryMs(0, 0), retryMs(50, 1)]).toEqual([1_500, 75_000]);
});

test('it asks ever less often until the server converts the camera, and then no more', () => {
  const { session, retry, asked, refuse, open, converted } = setUp();
  retry.begin(session);
  for (let tries = 1; tries <= 3; tries++) {
    vi.advanceTimersByTime(retryMs(tries - 1, 0) - 1);
    expect(asked).toHaveLength(tries - 1);
    vi.advanceTimersByTime(retryMs(tries - 1, 1) - retryMs(tries - 1, 0) + 1);
    expect(asked).toHaveLength(tries);
    if (tries < 3) refuse();
  }
  expect(asked[0]!.options).toEqual({ results: false, state: false, transcode: true });
  asked.at(-1)!.emit('init');
  vi.advanceTimersByTime(600_000);
  expect([asked.length, open(), converted()]).toEqual([3, 0, 1]);
});

test('it ends where nobody needs it any more', () => {
  const { session, retry, asked, open } = setUp();
  retry.begin(session);
  retry.stop();
  vi.advanceTimersByTime(600_000);
  expect(asked).toHaveLength(0);
  retry.begin(session);
  vi.advanceTimersByTime(retryMs(0, 1));
  expect(open()).toBe(1);
  retry.stop();
  expect(open()).toBe(0);
});
