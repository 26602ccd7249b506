import { describe, expect, test } from 'vitest';
import { glassDelays } from '../bench/fleet/glass-delay.ts';
import {
  addIdentities,
  identityOf,
  NO_IDENTITY,
  SentLog,
  type NamedPicture,
  type SentPicture,
} from '../bench/fleet/identity-log.ts';

const FRAME_MS = 20;
const BEGIN_MS = 1_800_000_000_000;

/** In the order of decoding; what is captured when follows from the numbers. */
function sent(numbers: readonly number[], fromMs = BEGIN_MS): SentPicture[] {
  const first = Math.min(...numbers);
  return numbers.map((number, i) => ({
    number,
    captureTimeMs: fromMs + (number - first) * FRAME_MS,
    sentTimeMs: fromMs + i * FRAME_MS + 100,
  }));
}
const inOrder = Array.from({ length: 50 }, (_, i) => 1_000 + i);
const named = ({ number, captureTimeMs }: SentPicture, seq: number, epoch = 7): NamedPicture => ({
  frame: { epoch, seq },
  captureTimeMs: captureTimeMs + 1.4,
  number,
});

describe('the number in a picture against the name of its frame', () => {
  const pictures = sent(inOrder);
  const received = pictures.map((one, i) => named(one, i)).slice(10);

  test('is right where both the time of capture and the number in the epoch say so', () => {
    expect(identityOf(new SentLog(pictures), received)).toEqual({ ...NO_IDENTITY, frames: 40, epochs: 1 });
  });

  test('is right in another order of decoding, over several epochs, and in whatever order pictures are asked for', () => {
    const reordered = [0, 3, 1, 2, 6, 4, 5, 7];
    const all = [...sent(reordered), ...sent([100, 103, 101, 102], BEGIN_MS + 10_000)];
    const seen = [
      ...all.slice(0, 8).map((one, i) => named(one, i, 1)),
      // The camera has sent two frames before this connection began.
      ...all.slice(10).map((one, i) => named(one, i, 2)),
    ];
    expect(identityOf(new SentLog(all), seen.toReversed())).toMatchObject({ frames: 10, mismatches: 0, epochs: 2 });
  });

  test.each<[what: string, wrong: (one: NamedPicture) => NamedPicture]>([
    ['the picture is the one before', (one) => ({ ...one, number: one.number! - 1 })],
    ['the time is of another frame', (one) => ({ ...one, captureTimeMs: one.captureTimeMs + FRAME_MS })],
    ['the number in the epoch is of another frame', (one) => ({ ...one, frame: { epoch: 7, seq: one.frame.seq + 1 } })],
    ['nothing was captured at that time', (one) => ({ ...one, captureTimeMs: one.captureTimeMs + FRAME_MS / 2 })],
    ['there is no time', (one) => ({ ...one, captureTimeMs: Number.NaN })],
  ])('is wrong where %s', (_, wrong) => {
    const seen = received.map((one, i) => (i === 20 ? wrong(one) : one));
    const { mismatches, examples } = identityOf(new SentLog(pictures), seen);
    expect(mismatches).toBe(1);
    expect(examples).toHaveLength(1);
  });

  test('is wrong throughout where all pictures are those of a group before', () => {
    const seen = received.map((one) => ({ ...one, number: one.number! - 25 }));
    expect(identityOf(new SentLog(pictures), seen)).toMatchObject({ frames: 40, mismatches: 40 });
  });

  test('one that cannot be read is counted by itself; sums are sums, with some examples', () => {
    const one = identityOf(new SentLog(pictures), [{ ...received[0]!, number: undefined }]);
    expect(one).toMatchObject({ frames: 1, mismatches: 0, unreadable: 1 });
    const wrong = identityOf(new SentLog([]), received);
    expect(wrong).toMatchObject({ frames: 40, mismatches: 40 });
    const sum = addIdentities(addIdentities(one, wrong), wrong);
    expect(sum).toMatchObject({ frames: 81, mismatches: 80, unreadable: 1, epochs: 3 });
    expect(sum.examples).toHaveLength(5);
  });
});

describe('from the camera to the screen', () => {
  const pictures = [...sent(inOrder), ...sent(inOrder, BEGIN_MS + 5_000)];

  test('a picture was under way since it was sent for the last time before it was shown', () => {
    const first = pictures[3]!;
    const again = pictures[53]!;
    const seen = [first, again].map(({ number, sentTimeMs }) => ({
      number,
      shownTimeMs: sentTimeMs + 150,
      latencyMs: 170,
    }));
    expect(glassDelays(pictures, seen)).toEqual({ delaysMs: [150, 150], toldMoreMs: 20, strangers: 0 });
  });

  test('one that cannot be read, that nobody has sent, or that was sent later, is none of them', () => {
    const [{ number, sentTimeMs } = pictures[0]!] = pictures;
    const seen = [
      { number: undefined, shownTimeMs: sentTimeMs + 1, latencyMs: 1 },
      { number: 5, shownTimeMs: sentTimeMs + 1, latencyMs: 1 },
      { number, shownTimeMs: sentTimeMs - 1, latencyMs: 1 },
    ];
    expect(glassDelays(pictures, seen)).toEqual({ delaysMs: [], toldMoreMs: Number.NaN, strangers: 3 });
  });
});
