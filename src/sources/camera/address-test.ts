import type { Clock } from '../../base/clock.ts';
import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import { redactText } from '../../log/redact.ts';
import type { Reason } from './camera-state.ts';
import type { Still } from './feed.ts';
import type { CameraInput, ReaderCounts, ReaderData, StreamFacts } from './messages.ts';
import type { Seat } from './process-pool.ts';
import type { Opening } from './reader-link.ts';

/** What an address was found to be. */
export interface CameraTest {
  /** Why there were no frames; null: there were. */
  readonly reason: Reason | null;
  readonly stream: StreamFacts | null;
  /** From the beginning until the first frame was there; null: there was none. */
  readonly firstFrameMs: number | null;
  /** Of about a second; null: it ended before. */
  readonly rates: { readonly fps: number; readonly bitsPerS: number } | null;
  /** Null: none could be made of its pictures in that time. */
  readonly still: Still | null;
  /** All of it. */
  readonly tookMs: number;
}

export interface AddressTestOptions {
  readonly clock: Clock;
  readonly seat: Seat;
  readonly input: CameraInput;
  readonly epoch: number;
  readonly ownTimeOf: (monotonicMs: number) => number;
}

/** After the first frame, for rates and a still. */
const LOOK_MS = 4_000;
/** There is nothing to make a still of before the first key frame. */
const STILL_AGAIN_MS = 250;
/** Beyond the camera's own time, for a process that has to start first. */
const START_MS = 10_000;
const STILL_WIDTH = 640;
const REASON_CHARS = 500;

/** Opens an address once, and looks at it for a moment. Never rejects: what goes wrong is what it finds. */
export async function testAddress({ clock, seat, input, epoch, ownTimeOf }: AddressTestOptions): Promise<CameraTest> {
  const startedMs = clock.now();
  const done = Promise.withResolvers<Reason | null>();
  let facts: StreamFacts | null = null;
  let firstFrameMs: number | null = null;
  let first: { readonly counts: ReaderCounts; readonly atMs: number } | undefined;
  let rates: CameraTest['rates'] = null;
  let still: Still | null = null;
  let stills = 0;
  let stillTimer: NodeJS.Timeout | undefined;
  const askStill = () => opening.still({ request: ++stills, widthMax: STILL_WIDTH, drawn: null });
  let timer = setTimeout(() => {
    const message = `no frame came within ${input.openTimeoutMs} ms`;
    done.resolve({ code: 'CAMERA_NO_PICTURE', message });
  }, input.openTimeoutMs + START_MS);
  const look = (): void => {
    if (rates && still) done.resolve(null);
  };
  const fail = (code: ErrorCode, reason: string): void => {
    // With its frames it has shown what it is.
    done.resolve(facts ? null : { code, message: redactText(reason, REASON_CHARS) });
  };
  const opening: Opening = seat.link.open(epoch, input, {
    begun: () => undefined,
    publisher: () => undefined,
    live: (_, found) => {
      if (!facts) {
        firstFrameMs = clock.now() - startedMs;
        clearTimeout(timer);
        timer = setTimeout(() => done.resolve(null), LOOK_MS);
        askStill();
      }
      facts = found;
    },
    ended: (code, reason) => fail(code ?? 'CAMERA_NO_PICTURE', code === null ? 'it ended without a frame' : reason),
    lost: ({ text }) => fail('CAMERA_PROCESS_LOST', `the process that read it ${text}`),
    condition: () => undefined,
    decoder: () => undefined,
    transcodeFailed: () => undefined,
    annotateFailed: () => undefined,
    counts: (counts) => {
      const atMs = clock.now();
      if (first && facts) {
        const seconds = (atMs - first.atMs) / 1000;
        const frames = counts.received - first.counts.received;
        rates = {
          fps: frames / seconds,
          bitsPerS: ((counts.receivedBytes - first.counts.receivedBytes) * 8) / seconds,
        };
        look();
      } else if (counts.received > 0) first = { counts, atMs };
    },
    stillFailed: () => {
      stillTimer = setTimeout(askStill, STILL_AGAIN_MS);
    },
    data: (data: ReaderData) => {
      if (data.kind !== 'still') return;
      const { seq, clock: captureClock, width, height, bytes, arrivedMs, capturedBeforeMs } = data;
      const captureTimeMs = ownTimeOf(arrivedMs) - capturedBeforeMs;
      // A test is of no camera.
      const frame = { camera: '', epoch: data.epoch, seq };
      const jpeg = new Uint8Array(bytes);
      still = { frame, captureTimeMs, clock: captureClock, width, height, boxes: 'none', jpeg };
      look();
    },
  });
  const reason = await done.promise;
  clearTimeout(timer);
  clearTimeout(stillTimer);
  opening.close();
  seat.leave();
  return { reason, stream: facts, firstFrameMs, rates, still, tookMs: clock.now() - startedMs };
}

/** As many tests as may be are under way. */
export function tooManyTests(max: number): SightlineError {
  return new SightlineError('CAMERA_TESTS_BUSY', `${max} addresses are tested already`);
}
