import { expect, test } from 'vitest';
import { Priority } from '../../base/sample.ts';
import { AnnotatedGrant, type AnnotatedForm } from './annotated-grant.ts';

const WANTED = { fps: 10, side: 1_280 };
/** A picture's size counts for half of what it costs; the other half is decoding it. */
const costOf = ({ fps, side }: AnnotatedForm) => fps * (0.5 + 0.5 * (side / WANTED.side) ** 2);

/** A machine that has time for so much. */
function machine(grant: AnnotatedGrant, priority: Priority = Priority.normal) {
  const made = { annotated: 0, annotatedDropped: 0 };
  let seconds = 0;
  const forms: string[] = [];
  return {
    forms,
    run(count: number, most: number): void {
      for (let i = 0; i < count; i++) {
        const form = grant.form(WANTED);
        const share = Math.min(1, most / costOf(form));
        made.annotated += form.fps * share;
        made.annotatedDropped += form.fps * (1 - share);
        if (!grant.note(made, (seconds += 1) * 1_000, priority)) continue;
        const { fps, side } = grant.form(WANTED);
        forms.push(`${fps} ${side}`);
      }
    },
  };
}

test('where there is time for all that is wanted, nothing changes', () => {
  const grant = new AnnotatedGrant();
  const { run, forms } = machine(grant);
  run(60, 100);
  expect([grant.form(WANTED), forms]).toEqual([WANTED, []]);
  expect(grant.form({ fps: 0.5, side: 64 })).toEqual({ fps: 0.5, side: 64 });
});

test('half of the rate goes first, then the size by turns, and all of it comes back', () => {
  const grant = new AnnotatedGrant();
  const { run, forms } = machine(grant);
  run(60, 0.2);
  expect(forms).toEqual([
    '7.5 1280',
    '5 1280',
    '5 960',
    '3.5 960',
    '3.5 640',
    '2.5 640',
    '1.5 640',
    // No less.
    '1 640',
  ]);
  expect(grant.form({ fps: 10, side: 400 })).toEqual({ fps: 1, side: 320 });
  forms.length = 0;
  run(120, 100);
  expect(forms).toHaveLength(8);
  expect(grant.form(WANTED)).toEqual(WANTED);
  run(60, 0.2);
  grant.reset();
  expect(grant.form(WANTED)).toEqual(WANTED);
});

test('falls to what there is time for, and tries the next rung ever more seldom where that is too much', () => {
  const grant = new AnnotatedGrant();
  const { run, forms } = machine(grant);
  run(600, 3.5);
  expect(costOf(grant.form(WANTED))).toBeGreaterThan(1.7);
  expect(costOf(grant.form(WANTED))).toBeLessThan(5);
  const early = forms.length;
  run(600, 3.5);
  expect(early).toBeLessThan(20);
  expect(forms.length - early).toBeLessThan(9);
  // There is time again: no rise is a mistake any more.
  run(400, 100);
  expect(grant.form(WANTED)).toEqual(WANTED);
});

test('the higher the class, the later it gives way', () => {
  const rates = [Priority.low, Priority.normal, Priority.high, Priority.critical].map((priority) => {
    const grant = new AnnotatedGrant();
    // A part of what each of them tries is left out.
    const made = { annotated: 0, annotatedDropped: 0 };
    for (let i = 0; i <= 30; i++) {
      const { fps } = grant.form(WANTED);
      made.annotated += fps * 0.85;
      made.annotatedDropped += fps * 0.15;
      grant.note(made, i * 1_000, priority);
    }
    return grant.form(WANTED).fps;
  });
  expect(rates).toEqual([1, 1, 10, 10]);
});

test('a connection that counts anew is no reason', () => {
  const grant = new AnnotatedGrant();
  expect(grant.note({ annotated: 90, annotatedDropped: 10 }, 0, Priority.normal)).toBe(false);
  expect(grant.note({ annotated: 5, annotatedDropped: 5 }, 5_000, Priority.normal)).toBe(false);
  expect(grant.note({ annotated: 15, annotatedDropped: 5 }, 8_000, Priority.normal)).toBe(false);
  expect(grant.note({ annotated: 20, annotatedDropped: 10 }, 11_000, Priority.normal)).toBe(true);
});
