import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodePlan, Pace, Rhythm, decodeMode, type Decoding, type SeenFrame, keyStride } from './decode-plan.ts';

const FRAME_MS = 80;

/** Groups of `gop` frames; every other one between them is no reference if `hasOthers`. */
function frames(count: number, { gop = 12, hasOthers = false } = {}): SeenFrame[] {
  return Array.from({ length: count }, (_, i) => ({
    isKey: i % gop === 0,
    isReference: !hasOthers || (i % gop) % 2 === 0,
    atMs: i * FRAME_MS,
    shownMs: i * FRAME_MS,
  }));
}

/** As a reader does: each picture that is decoded is offered at once. */
function run(plan: DecodePlan, seen: readonly SeenFrame[]) {
  const decisions: Decoding[] = [];
  let pictures = 0;
  for (const frame of seen) {
    const decision = plan.see(frame);
    decisions.push(decision);
    if (decision !== 'skip' && plan.takesPicture(frame.shownMs)) pictures++;
  }
  const count = (what: Decoding) => decisions.filter((each) => each === what).length;
  return { decisions, pictures, single: count('single'), next: count('next'), skip: count('skip') };
}

test('seldom pictures are of every so many key frames, and no camera waits for too long', () => {
  expect([2_857, 1_900, 2_130, 1_000].map((intervalMs) => keyStride(intervalMs, 960))).toEqual([3, 2, 3, 1]);
  expect([2_857, 3_900].map((intervalMs) => keyStride(intervalMs, 1_400))).toEqual([2, 2]);
  expect(keyStride(2_857, 5_000)).toBe(1);
  expect([500, 4_000].map((intervalMs) => keyStride(intervalMs, 960))).toEqual([0, 0]);
});

describe('a plan of decoding', () => {
  test('watches the picture by a key frame every 4 s where nobody asks', () => {
    const { single, next, pictures } = run(new DecodePlan(), frames(1250));
    expect(next).toBe(0);
    expect(pictures).toBe(0);
    expect(single).toBeGreaterThanOrEqual(24);
    expect(single).toBeLessThanOrEqual(27);
  });

  test.each([
    ['one in four seconds', 0.25, 25],
    ['one in two seconds', 0.5, 50],
    ['as many as there are key frames', 1.04, 104],
  ])('takes single key frames for %s', (_what, rateFps, pictures) => {
    const plan = new DecodePlan();
    plan.order(rateFps);
    const done = run(plan, frames(1250));
    // The first frame has shown no rhythm yet.
    expect(done.next).toBeLessThanOrEqual(rateFps > 1 ? 1 : 0);
    expect(Math.abs(done.single - pictures)).toBeLessThanOrEqual(3);
    expect(done.pictures).toBe(done.single + done.next);
  });

  test('decodes all frames for more than there are key frames, and gives no more pictures than were asked for', () => {
    const plan = new DecodePlan();
    plan.order(5);
    const done = run(plan, frames(1250));
    expect(done.next).toBeGreaterThan(1200);
    expect(Math.abs(done.pictures - 500)).toBeLessThanOrEqual(10);
  });

  test('leaves out frames that no other depends on where the rest is enough', () => {
    const plan = new DecodePlan();
    plan.order(6);
    const seen = frames(1200, { hasOthers: true });
    run(plan, seen.slice(0, 600));
    const later = seen.slice(600);
    const { decisions, pictures } = run(plan, later);
    expect(plan.mode).toBe('references');
    expect(decisions.every((decision, i) => decision === (later[i]!.isReference ? 'next' : 'skip'))).toBe(true);
    expect(pictures).toBeGreaterThan(270);
    plan.order(12.5);
    expect(plan.mode).toBe('all');
  });

  test('gives every picture of a camera with B-frames, which come later than they are shown', () => {
    const plan = new DecodePlan();
    plan.order(12.5);
    const seen = frames(300);
    run(plan, seen.slice(0, 240));
    // Decoded in the order of coming, given in the order of showing.
    for (const frame of seen.slice(240)) expect(plan.see(frame)).toBe('next');
    expect(seen.slice(240).filter(({ shownMs }) => plan.takesPicture(shownMs))).toHaveLength(60);
  });

  test('gives every picture where all are wanted', () => {
    const plan = new DecodePlan();
    plan.order(Infinity);
    expect(run(plan, frames(50))).toMatchObject({ next: 50, pictures: 50 });
  });

  test('decodes nothing after a gap before the next key frame', () => {
    const plan = new DecodePlan();
    plan.order(Infinity);
    const seen = frames(36);
    const before = run(plan, seen.slice(0, 15));
    plan.break();
    const after = run(plan, seen.slice(17));
    expect(before.next).toBe(15);
    expect(after.decisions.indexOf('next')).toBe(24 - 17);
    expect(after.next).toBe(12);
  });

  test('begins with a key frame when more is asked for, and ends at once when less is', () => {
    const plan = new DecodePlan();
    const seen = frames(60);
    run(plan, seen.slice(0, 18));
    plan.order(Infinity);
    const all = run(plan, seen.slice(18, 40));
    expect(all.decisions.indexOf('next')).toBe(6);
    expect(all.decisions.slice(6).every((decision) => decision === 'next')).toBe(true);
    plan.order(0);
    expect(run(plan, seen.slice(40)).next).toBe(0);
  });

  test('decodes all where key frames alone give no picture', () => {
    const plan = new DecodePlan();
    plan.order(1);
    expect(plan.see({ isKey: true, isReference: true, atMs: 0, shownMs: 0 })).toBe('single');
    plan.noteSingle(false);
    plan.noteSingle(false);
    expect(run(plan, frames(24)).next).toBe(24);
  });

  test('decodes all where key frames come too seldom', () => {
    const plan = new DecodePlan();
    plan.order(0.25);
    const done = run(plan, frames(1250, { gop: 125 }));
    expect(done.next).toBeGreaterThan(900);
    expect(done.pictures).toBeGreaterThanOrEqual(20);
  });

  test('of JPEGs takes as many as are asked for', () => {
    const plan = new DecodePlan();
    plan.order(2);
    const done = run(plan, frames(1250, { gop: 1 }));
    expect(done.next).toBeLessThanOrEqual(1);
    expect(Math.abs(done.pictures - 200)).toBeLessThanOrEqual(4);
  });
});

test('whatever comes, a frame in its turn depends on nothing that was left out', () => {
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.record({ isKey: fc.boolean(), isReference: fc.boolean(), waitMs: fc.nat(2000) }) },
    { weight: 2, arbitrary: fc.constantFrom(0, 0.25, 1, 3, Infinity) },
    { weight: 1, arbitrary: fc.constant('break' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const plan = new DecodePlan();
      let atMs = 0;
      let isWhole = false;
      for (const each of steps) {
        if (each === 'break') {
          plan.break();
          isWhole = false;
        } else if (typeof each === 'number') plan.order(each);
        else {
          atMs += each.waitMs;
          const isReference = each.isReference || each.isKey;
          const decision = plan.see({ isKey: each.isKey, isReference, atMs, shownMs: atMs });
          if (decision === 'single') expect(each.isKey).toBe(true);
          if (decision === 'next') {
            if (each.isKey) isWhole = true;
            expect(isWhole).toBe(true);
          } else if (isReference) isWhole = false;
        }
      }
    }),
  );
});

test('a rhythm without key frames does not count on them for long', () => {
  const rhythm = new Rhythm();
  rhythm.see({ isKey: true, isReference: true, atMs: 0 });
  expect(decodeMode(0.5, rhythm, false)).toBe('keys');
  for (let i = 1; i < 100; i++) rhythm.see({ isKey: false, isReference: true, atMs: i * FRAME_MS });
  expect(decodeMode(0.5, rhythm, false)).toBe('all');
});

test('a pace keeps the mean rate where things come unevenly, and makes up for no pause', () => {
  const pace = new Pace();
  const take = (times: readonly number[]) =>
    times.filter((atMs) => {
      const isDue = pace.isDue(atMs);
      if (isDue) pace.take(atMs, 100);
      return isDue;
    });
  expect(take([0, 50, 130, 190, 210, 290, 310, 400])).toEqual([0, 130, 210, 310, 400]);
  expect(take([10_000, 10_001, 10_002, 10_100])).toEqual([10_000, 10_100]);
  // The time begins anew.
  expect(take([0, 50, 100])).toEqual([0, 100]);
});
