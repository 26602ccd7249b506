import { expect, test } from 'vitest';
import { Payload } from '../protocol/payload.ts';
import { FORMS_MAX, PayloadForms } from './payload-forms.ts';

const keep = (forms: PayloadForms, n: number): Payload => {
  const payload = Payload.json(new TextEncoder().encode(`{"n":${n}}`));
  payload.settle(forms);
  payload.value();
  return payload;
};

test('a value that was read is kept for a while, and made again after that', () => {
  const forms = new PayloadForms();
  const old = Array.from({ length: 10 }, (_, n) => keep(forms, n));
  const kept = old[3]!.value();
  const { bytes } = forms;
  expect(bytes).toBeGreaterThan(0);
  forms.age();
  expect([forms.bytes, old[3]!.value() === kept]).toEqual([bytes, true]);
  const fresh = keep(forms, 10);
  const freshValue = fresh.value();
  forms.age();
  expect(forms.bytes).toBeLessThan(bytes);
  expect(old[3]!.value()).toEqual({ n: 3 });
  expect([old[3]!.value() === kept, fresh.value() === freshValue]).toEqual([false, true]);
  forms.age();
  forms.age();
  expect(forms.bytes).toBe(0);
});

test('of many small ones only the newest are kept', () => {
  const forms = new PayloadForms();
  const first = keep(forms, 0);
  const value = first.value();
  for (let n = 1; n < FORMS_MAX; n++) keep(forms, n);
  expect(first.value()).toBe(value);
  keep(forms, FORMS_MAX);
  expect(first.value()).toEqual({ n: 0 });
  expect(first.value()).not.toBe(value);
});
