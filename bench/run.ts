import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseRequest, usage } from './request.ts';
import { toDocument, toTable, type BenchResult } from './support/document.ts';

/**
 * `npm run -s bench -- <name> [--json] [--quick] [--plots <folder>] [--provider <name>] [--only <part>,…]`: runs one benchmark, or parts of
 * it. Standard output holds its result and nothing else; plots go into the folder.
 */

const EXIT = { ok: 0, usage: 64, software: 70, interrupted: 130 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const request = parseRequest(args);
  if (typeof request === 'string') {
    for (const line of [request, ...usage()]) say(line);
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

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
