import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import type { RawFragment } from '../../base/camera-frame.ts';
import { Hub } from '../../stream/hub.ts';
import { RawCursor } from './raw-cursor.ts';

const BYTES = new Uint8Array();
const KEY_EVERY = 5;
const BUDGET_MS = 200;

type Step =
  | { readonly kind: 'play' | 'lose' | 'take'; readonly count: number }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'reconnect' }
  | { readonly kind: 'catchUp' };

const count = fc.integer({ min: 1, max: 12 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('play' as const), count }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const), count }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 300 }) }),
    },
    fc.record({ kind: fc.constant('lose' as const), count }),
    fc.record({ kind: fc.constant('reconnect' as const) }),
    fc.record({ kind: fc.constant('catchUp' as const) }),
  ),
  { maxLength: 60 },
);

test('whatever is lost, and however a view is read: what it gets can be decoded, what it does not get is told, and its accounts balance', () => {
  fc.assert(
    fc.property(steps, fc.nat({ max: 20 }), (all, playedBefore) => {
      const clock = new ManualClock();
      const hub = new Hub({ clock, random: seededRandom(1), streamsMax: 1 });
      const stream = hub.create<RawFragment>('raw', { capacity: 16 });
      let [epoch, seq] = [1, 0];
      const play = (): void => {
        const init = { isTranscoded: false, epoch, codecString: 'avc1', width: 1, height: 1, bytes: BYTES };
        const frame = { camera: 'north', epoch, seq };
        const times = { mediaTimeS: seq, durationS: 1 };
        const data: RawFragment = {
          init,
          frame,
          order: seq,
          isKey: seq++ % KEY_EVERY === 0,
          ...times,
          clock: 'arrival',
          bytes: BYTES,
        };
        stream.publish({ data });
      };
      for (let i = 0; i < playedBefore; i++) play();
      const cursor = new RawCursor(stream, {
        budgetMs: BUDGET_MS,
        openedMs: clock.now(),
        onReady: () => {},
        onEnding: () => {},
      });
      let last: { epoch: number; seq: number } | undefined;
      let delivered = 0;
      const take = (): void => {
        const taken = cursor.take(clock.now());
        if (taken === undefined) return;
        delivered++;
        const { frame, isKey } = taken.sample.data;
        const follows = last !== undefined && frame.epoch === last.epoch && frame.seq === last.seq + 1;
        expect(follows || isKey).toBe(true);
        if (last === undefined || follows) expect(taken.gap).toBeUndefined();
        else if (frame.epoch === last.epoch) {
          const from = { epoch: last.epoch, seq: last.seq + 1 };
          expect(taken.gap).toMatchObject({
            from,
            to: { epoch: frame.epoch, seq: frame.seq },
            count: frame.seq - from.seq,
          });
          expect(frame.seq).toBeGreaterThan(last.seq);
        } else expect(frame.epoch).toBeGreaterThan(last.epoch);
        last = { epoch: frame.epoch, seq: frame.seq };
      };
      for (const step of all) {
        if (step.kind === 'advance') clock.advance(step.ms);
        else if (step.kind === 'catchUp') cursor.catchUp(clock.now());
        else if (step.kind === 'lose') seq += step.count;
        else if (step.kind === 'reconnect') [epoch, seq] = [epoch + 1, 0];
        else for (let i = 0; i < step.count; i++) (step.kind === 'play' ? play : take)();
        const counts = cursor.counts();
        const dropped = Object.values(counts.dropped).reduce((sum, n) => sum + n, 0);
        expect(counts.published).toBe(counts.delivered + dropped + counts.queued);
        expect(counts.delivered).toBe(delivered);
        expect([counts.conflated, counts.expired]).toEqual([0, 0]);
      }
      cursor.close();
      expect(cursor.counts().queued).toBe(0);
      hub.close();
    }),
  );
});
