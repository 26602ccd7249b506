import { parseArgs } from 'node:util';
import type { Benchmark } from './support/document.ts';
import { channels } from './channels/channels.ts';
import { client } from './client/client.ts';
import { codecs } from './codecs/codecs.ts';
import { fences } from './fences/fences.ts';
import { fleet } from './fleet/fleet.ts';
import { hands } from './hands/hands.ts';
import { mixed } from './mixed/mixed.ts';
import { operate } from './operate/operate.ts';
import { overload } from './overload/overload.ts';
import { page } from './page/page.ts';
import { preprocess } from './preprocess/preprocess.ts';
import { quality } from './quality/quality.ts';
import { soak } from './soak/soak.ts';
import { telemetry } from './telemetry/telemetry.ts';
import { vision } from './vision/vision.ts';

/** What a command line asks of the benchmarks. */

const BENCHMARKS: readonly Benchmark[] = [
  vision,
  telemetry,
  client,
  page,
  soak,
  overload,
  mixed,
  quality,
  fences,
  fleet,
  channels,
  operate,
  hands,
  preprocess,
  codecs,
];

interface Request {
  readonly benchmark: Benchmark;
  readonly json: boolean;
  readonly quick: boolean;
  readonly plots?: string;
  readonly provider: string;
  readonly only?: readonly string[];
}

/** What is asked for, or what is wrong with it. */
export function parseRequest(args: readonly string[]): Request | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        plots: { type: 'string' },
        provider: { type: 'string', default: 'cpu' },
        only: { type: 'string' },
      },
    });
    const [name, ...more] = positionals;
    if (name === undefined) return 'which benchmark?';
    const benchmark = BENCHMARKS.find((one) => one.name === name);
    if (!benchmark || more.length > 0) return `there is no benchmark "${positionals.join(' ')}"`;
    if (values.provider !== 'cpu' && !benchmark.takesProvider) return `${benchmark.name} runs on the cpu alone`;
    const { only: list, ...rest } = values;
    const only = list?.split(',');
    const { parts = [] } = benchmark;
    const unknown = only?.find((part) => !parts.includes(part));
    if (unknown !== undefined)
      return `${benchmark.name} has no part "${unknown}"; it has ${parts.join(', ') || 'none'}`;
    return { benchmark, ...rest, ...(only && { only }) };
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

/** Lines. */
export function usage(): string[] {
  return [
    'usage: npm run -s bench -- <name> [--json] [--quick] [--plots <folder>] [--provider <name>] [--only <part>,…]',
    ...BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`),
  ];
}
