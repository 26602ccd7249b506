import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toDocument, toTable, type Benchmark, type BenchResult } from './support/document.ts';
import { client } from './client/client.ts';
import { codecs } from './codecs/codecs.ts';
import { fences } from './fences/fences.ts';
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

/**
 * `npm run -s bench -- <name> [--json] [--quick] [--plots <folder>] [--provider <name>] [--only <part>,…]`: runs one benchmark, or parts of
 * it. Standard output holds its result and nothing else; plots go into the folder.
 */

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
  operate,
  hands,
  preprocess,
  codecs,
];
const EXIT = { ok: 0, usage: 64, software: 70, interrupted: 130 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const request = parse(args);
  if (typeof request === 'string') {
    say(request);
    say(
      'usage: npm run -s bench -- <name> [--json] [--quick] [--plots <folder>] [--provider <name>] [--only <part>,…]',
    );
    for (const { name, summary } of BENCHMARKS) say(`  ${name.padEnd(10)} ${summary}`);
    return EXIT.usage;
  }
  const { benchmark, json, quick, plots, provider, only } = request;
  const stopper = new AbortController();
  const onSignal = (): void => {
    // The second one does not wait for an orderly end.
    if (stopper.signal.aborted) process.exit(EXIT.interrupted);
    stopper.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const startMs = performance.now();
  try {
    const result = await benchmark.run({ quick, provider, signal: stopper.signal, say, ...(only && { only }) });
    if (plots !== undefined) await writePlots(plots, result);
    const document = toDocument(benchmark.name, result, (performance.now() - startMs) / 1000);
    process.stdout.write(`${json ? JSON.stringify(document, undefined, 2) : toTable(document, result.tables)}\n`);
    return EXIT.ok;
  } catch (thrown) {
    say(stopper.signal.aborted ? 'interrupted' : `failed: ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
    return stopper.signal.aborted ? EXIT.interrupted : EXIT.software;
  }
}

async function writePlots(folder: string, { plots = {} }: BenchResult): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, svg] of Object.entries(plots)) await writeFile(join(folder, name), svg);
  say(`${Object.keys(plots).length} plots in ${folder}`);
}

interface Request {
  readonly benchmark: Benchmark;
  readonly json: boolean;
  readonly quick: boolean;
  readonly plots?: string;
  readonly provider: string;
  readonly only?: readonly string[];
}

/** What is asked for, or what is wrong with it. */
function parse(args: readonly string[]): Request | string {
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

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
