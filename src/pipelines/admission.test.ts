import { describe, expect, test } from 'vitest';
import type { Priority } from '../base/sample.ts';
import { Admission } from './admission.ts';

/** Two workers that were busy with frames of so long. */
function setUp({ costMs = 10, isMeasured = true } = {}) {
  let frames = 0;
  let nowMs = 1.7e12;
  const admission = new Admission(() => {
    const workMs = frames * costMs;
    return { workers: 2, completed: frames, workMs, busyMs: workMs, neededMs: workMs, waitMs: 0 };
  });
  const pass = (forMs: number) => {
    for (let passedMs = 0; passedMs < forMs; passedMs += 100) {
      nowMs += 100;
      if (isMeasured) frames += (2 * 100) / costMs;
      admission.measure(nowMs);
    }
  };
  const join = (wanted: number, more: { costMs?: number; priority?: Priority; isIdle?: boolean } = {}) => {
    const member = { told: [] as number[], isThere: true };
    const leave = admission.join({
      demand: () => (member.isThere ? { priority: more.priority ?? 1, wanted } : undefined),
      costMs: () => more.costMs ?? costMs,
      isIdle: () => more.isIdle ?? false,
      onShare: (fps) => member.told.push(fps),
    });
    return Object.assign(member, { leave, last: () => member.told.at(-1) });
  };
  const share = (ceilingFps?: number) => admission.shareOut(nowMs, ceilingFps);
  return { admission, pass, join, share };
}

describe('Admission', () => {
  test('who has no socket has a share like everybody else: even in worker time, told in frames', () => {
    const { pass, join, share } = setUp();
    pass(2_000);
    const [session, camera] = [join(1_000), join(1_000, { costMs: 40 })];
    share();
    expect(session.last()! * 10).toBeCloseTo(camera.last()! * 40);
    expect(session.last()! * 20).toBeGreaterThan(1_900);
  });

  test('who wants everything there is, such as a file, leaves the others what they want', () => {
    const { pass, join, share } = setUp();
    pass(2_000);
    const [file, session] = [join(Infinity, { priority: 0 }), join(30)];
    share();
    expect(session.last()).toBeCloseTo(30);
    expect(file.last()).toBeGreaterThan(150);
    expect(file.last()).toBeLessThan(200);
  });

  test('those that send nothing take no part from the others, and may begin with what there would be for all', () => {
    const { pass, join, share } = setUp();
    pass(2_000);
    const [session, input] = [join(30), join(60)];
    const silent = Array.from({ length: 300 }, () => join(Infinity, { priority: 3, isIdle: true }));
    share();
    expect(session.last()).toBeGreaterThanOrEqual(30);
    expect(input.last()).toBeGreaterThanOrEqual(60);
    expect([session.told.length, input.told.length]).toEqual([1, 1]);
    const begins = silent.reduce((sum, member) => sum + member.last()!, 0);
    expect(begins).toBeGreaterThan(100);
    expect(begins).toBeLessThan(250);
    share(10);
    expect(silent.reduce((sum, member) => sum + member.last()!, 0)).toBeLessThan(0.6 * begins);
  });

  test('who is costly leaves a worker to the others, whatever its class', () => {
    const { admission, pass, join, share } = setUp();
    pass(2_000);
    const told: number[] = [];
    admission.join({
      demand: () => ({ priority: 3, wanted: 1_000 }),
      costMs: () => 400,
      isCostly: () => true,
      onShare: (fps) => told.push(fps),
    });
    const session = join(50);
    share();
    expect(session.last()).toBeGreaterThanOrEqual(50);
    expect(told.at(-1)! * 400).toBeLessThan(1_000);
  });

  test('who is away, and who has left, has none', () => {
    const { pass, join, share } = setUp();
    pass(2_000);
    const [one, other, gone] = [join(1_000), join(1_000), join(1_000)];
    gone.leave();
    gone.leave();
    other.isThere = false;
    share();
    const alone = one.last()!;
    expect([other.told, gone.told]).toEqual([[], []]);
    other.isThere = true;
    share();
    expect(one.last()).toBeLessThan(0.6 * alone);
    expect(other.last()).toBeCloseTo(one.last()!);
  });

  test('the process bounds frames, all together', () => {
    const { pass, join, share } = setUp();
    pass(2_000);
    const members = [join(1_000), join(1_000, { costMs: 40 }), join(1_000)];
    share(30);
    expect(members.reduce((sum, member) => sum + member.last()!, 0)).toBeCloseTo(30);
  });

  test('before anything is measured what its members’ work is expected to cost is the capacity', () => {
    const { admission, pass, join, share } = setUp({ isMeasured: false });
    pass(1_000);
    expect([admission.capacityFps, admission.rateFps, admission.load]).toEqual([undefined, undefined, 0]);
    const member = join(1_000, { costMs: 40 });
    share();
    expect(member.last()).toBe(Infinity);
    pass(100);
    share();
    expect(admission.capacityFps).toBeCloseTo(50);
    expect(admission.rateFps).toBeCloseTo(48.5);
    expect(member.last()).toBeCloseTo(48.5);
  });

  test('is told for the mix of work of late', () => {
    const { admission, pass } = setUp({ costMs: 25 });
    pass(5_000);
    expect(admission.capacityFps).toBeCloseTo(80);
    expect(admission.load).toBeCloseTo(1);
  });
});
