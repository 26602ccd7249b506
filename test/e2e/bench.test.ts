import { expect, test } from 'vitest';
import { bench } from '../support/bench.ts';

test('without a name, or with an unknown one, the benchmarks are listed', async () => {
  for (const words of [[], ['nothing']]) {
    const { out, err, code } = await bench(...words);
    expect(code).toBe(64);
    expect(out).toBe('');
    expect(err).toMatch(/^ {2}vision /m);
    expect(err).toMatch(/^ {2}telemetry /m);
    expect(err).toMatch(/^ {2}client /m);
    expect(err).toMatch(/^ {2}page /m);
    expect(err).toMatch(/^ {2}soak /m);
    expect(err).toMatch(/^ {2}overload /m);
    expect(err).toMatch(/^ {2}quality /m);
    expect(err).toMatch(/^ {2}fences /m);
    expect(err).toMatch(/^ {2}hands /m);
    expect(err).toMatch(/^ {2}preprocess /m);
  }
});
