import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { suiteOf, tested } from '../../test/support/load-results.ts';
import { appendHistory, previousOf, readHistory } from './history.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'sightline-history-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = () => join(folder, 'benchmarks', 'telemetry.jsonl');

test('the newest comparable run is the previous one', async () => {
  const older = suiteOf([tested('low_load'), tested('high_load')], { time: 'older' });
  const newer = suiteOf([tested('low_load')], { time: 'newer' });
  await appendHistory(folder, await readHistory(folder), older);
  await appendHistory(folder, await readHistory(folder), newer);
  const previous = previousOf(await readHistory(folder), suiteOf([tested('low_load'), tested('high_load')]));
  expect(previous.get('low_load')).toMatchObject({ time: 'newer', test: { p95_ms: 2, bytes_per_message: 600 } });
  expect(previous.get('high_load')).toMatchObject({ time: 'older' });
});

test.each([
  ['another protocol', { subprotocol: 'sightline.v1.json' as const }],
  ['another server', { server: 'given' as const }],
])('%s is not compared', async (_, over) => {
  await appendHistory(folder, [], suiteOf([tested('low_load')]));
  expect(previousOf(await readHistory(folder), suiteOf([tested('low_load')], over)).size).toBe(0);
});

test('another length is not compared', async () => {
  await appendHistory(folder, [], suiteOf([tested('low_load', { seconds: 6 })]));
  expect(previousOf(await readHistory(folder), suiteOf([tested('low_load')])).size).toBe(0);
});

test('a damaged line is passed over, and no more than 200 runs are kept', async () => {
  const run = suiteOf([tested('low_load')]);
  await appendHistory(folder, [], run);
  appendFileSync(file(), '{"tests":\nnull\n');
  const [kept, ...others] = await readHistory(folder);
  expect(others).toEqual([]);
  await appendHistory(
    folder,
    Array.from({ length: 250 }, () => kept!),
    { ...run, time: 'last' },
  );
  const lines = readFileSync(file(), 'utf8').trimEnd().split('\n');
  expect(lines).toHaveLength(200);
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ time: 'last' });
});
