import { text } from 'node:stream/consumers';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { total, type SuiteResult } from '../../src/load/results.ts';
import { Child } from '../../src/supervise/child.ts';
import type { BenchContext } from '../support/document.ts';
import type { Figures } from './settings.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
/** That tests were not passed: the figures tell which. */
const NOT_PASSED = 70;

/** The five scenarios as the command `benchmark` runs them, against its private server. */
export async function measureScenarios({ quick, signal, say }: BenchContext): Promise<Figures> {
  say('the five scenarios');
  const words = ['benchmark', 'scenarios', '--json', ...(quick ? ['--duration', '1'] : [])];
  await using child = Child.spawn(process.execPath, [COMMAND, ...words], {
    cwd: tmpdir(),
    stdout: 'pipe',
    onErrorOutput: (output) => say(output.trimEnd()),
  });
  const onAbort = (): void => void child.stop();
  signal.addEventListener('abort', onAbort, { once: true });
  const [out, { code }] = await Promise.all([text(child.stdout!), child.exited]);
  signal.removeEventListener('abort', onAbort);
  signal.throwIfAborted();
  if (code !== 0 && code !== NOT_PASSED) throw new Error(`sightline benchmark ended with ${code}`);
  const { tests } = JSON.parse(out) as SuiteResult;
  const figures: Figures = {
    scenarios_lost: tests.reduce((sum, { lost }) => sum + total(lost), 0),
    scenarios_p95_ms_max: Math.max(...tests.map(({ latency }) => orNaN(latency.p95_ms))),
  };
  for (const { name, latency, lost, bytes_per_message } of tests) {
    figures[`sightline.${name}_p95_ms`] = orNaN(latency.p95_ms);
    figures[`sightline.${name}_p99_ms`] = orNaN(latency.p99_ms);
    figures[`sightline.${name}_lost`] = total(lost);
    figures[`sightline.${name}_bytes_per_message`] = orNaN(bytes_per_message);
  }
  return figures;
}

/** What was not measured meets no bar, and is null in the JSON document. */
const orNaN = (figure: number | null): number => figure ?? Number.NaN;
