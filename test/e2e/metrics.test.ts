import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { parse } from 'yaml';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { connectVideo } from '../../src/client/video.ts';
import { AlertmanagerService } from '../support/alertmanager.ts';
import { JPEGS } from '../support/jpegs.ts';
import { programPath } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { Service } from '../support/service.ts';

/** What Prometheus makes of a loaded server: every expression of the dashboard and of the rules, and an alert on its way. */

const [prometheus, promtool, alertmanager] = (['prometheus', 'promtool', 'alertmanager'] as const).map(programPath);
const deploy = (path: string) => fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));
const RULES = deploy('prometheus/sightline.rules.yml');

interface Rule {
  readonly alert: string;
  readonly expr: string;
}

const rules = (parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (one) => one.rules,
);
const { panels } = JSON.parse(readFileSync(deploy('grafana/sightline.json'), 'utf8')) as {
  panels: { title: string; targets: { expr: string }[] }[];
};

let folder: string;
let key: string;
let server: ServerProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-metrics-'));
  const keysFile = join(folder, 'keys.json');
  const made = makeKey({ name: 'all', grants: ['admin'].map(parseGrant), createdMs: Date.now() });
  key = made.text;
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [made.key] }));
  server = await ServerProcess.start(['serve', '--set', `auth.keys_file=${keysFile}`]);
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const scrape = (Accept: string) =>
  fetch(`${server.url}/metrics`, { headers: { Authorization: `Bearer ${key}`, Accept } });

test('both formats are told by their type', async () => {
  const open = await scrape('application/openmetrics-text;version=1.0.0');
  expect(open.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
  expect(await open.text()).toMatch(/# UNIT sightline_frame_stage_seconds seconds\n[^]*# EOF\n$/);
  const plain = await scrape('*/*');
  expect(plain.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
});

test.skipIf(promtool === undefined)('promtool has nothing to say against them, nor against the rules', async () => {
  const text = await (await scrape('*/*')).text();
  const metrics = spawnSync(promtool!, ['check', 'metrics'], { input: text, encoding: 'utf8' });
  expect([metrics.status, metrics.stderr]).toEqual([0, '']);
  const checked = spawnSync(promtool!, ['check', 'config', deploy('prometheus/prometheus.yml')], { encoding: 'utf8' });
  expect([checked.status, checked.stderr]).toEqual([0, '']);
});

/** Frames, some of which come too late, messages with a reader that falls behind, a Foxglove viewer, a refusal. */
async function load(): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  const video = stack.use(await connectVideo({ url: server.url, accessToken: key }));
  const hasty = stack.use(await connectVideo({ url: server.url, accessToken: key, budgetMs: 1 }));
  const telemetry = stack.use(await connectTelemetry({ url: server.url, accessToken: key }));
  telemetry.subscribe('load/#', { contract: 'latest' }).onTelemetry(() => undefined);
  telemetry.on('error', () => undefined);
  const viewer = new WebSocket(`${server.ws('/ws/foxglove')}?access_token=${key}`, 'foxglove.sdk.v1');
  stack.defer(() => viewer.terminate());
  await once(viewer, 'open');
  const timer = setInterval(() => {
    for (const session of [video, hasty]) session.send({ jpeg: JPEGS.sampling440 });
    void telemetry.publish('load/x', { n: 1 });
    viewer.send('{"op":"nonsense"}');
  }, 50);
  stack.defer(() => clearInterval(timer));
  return stack;
}

describe.skipIf(prometheus === undefined)('Prometheus', () => {
  test('gets a series for every expression of the dashboard and of the rules', async () => {
    await using _load = await load();
    await using scraping = await startPrometheus();
    const expressions = [
      // A rule is true only when something is wrong: what it compares is there at all times.
      ...rules.flatMap(({ alert, expr }) => expr.split(/\band\b/).map((part) => [alert, withoutBound(part)] as const)),
      ...panels.flatMap(({ title, targets }) =>
        targets.map(({ expr }) => [title, expr.replaceAll('$instance', '.*')] as const),
      ),
    ];
    expect(expressions.length).toBeGreaterThan(40);
    for (const [where, expr] of expressions) {
      await expect
        .poll(() => seriesOf(scraping.url, expr), { timeout: 30_000, message: `${where}: ${expr}` })
        .toBeGreaterThan(0);
    }
    const names = rules.map(({ alert }) => alert);
    const loaded = (await ask(scraping.url, '/api/v1/rules')) as { groups: { rules: { name: string }[] }[] };
    expect(loaded.groups.flatMap((group) => group.rules).map(({ name }) => name)).toEqual(names);
  });

  test.skipIf(alertmanager === undefined)(
    'tells Alertmanager of a server that is gone, and that a webhook',
    async () => {
      await using waking = await AlertmanagerService.start(alertmanager!, folder);
      await using mortal = await ServerProcess.start(['serve', '--set', 'auth.loopback=open']);
      await using scraping = await startPrometheus({ target: mortal.url, alertmanager: waking.url });
      await expect.poll(() => seriesOf(scraping.url, 'up{job="sightline"} == 1'), { timeout: 30_000 }).toBe(1);
      expect(waking.received).toEqual([]);
      await mortal.stop('SIGKILL');
      const told = (): string[] => waking.received.map(({ status, labels }) => `${labels['alertname']} ${status}`);
      await expect.poll(told, { timeout: 30_000 }).toContain('SightlineDown firing');
    },
  );
});

let started = 0;
async function startPrometheus(parts: { target?: string; alertmanager?: string } = {}): Promise<Service> {
  const { host } = new URL(parts.target ?? server.url);
  // As they are, but nobody waits for minutes.
  const hasty = readFileSync(RULES, 'utf8').replaceAll(/^ +for: \S+$/gm, '');
  const number = ++started;
  const [rulesFile, configFile] = ['rules', 'prometheus'].map((name) => join(folder, `${name}-${number}.yml`));
  writeFileSync(rulesFile!, hasty);
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [rulesFile],
    scrape_configs: [
      { job_name: 'sightline', authorization: { credentials: key }, static_configs: [{ targets: [host] }] },
    ],
    ...(parts.alertmanager !== undefined && {
      alerting: { alertmanagers: [{ static_configs: [{ targets: [new URL(parts.alertmanager).host] }] }] },
    }),
  };
  writeFileSync(configFile!, JSON.stringify(config));
  return await Service.start(
    prometheus!,
    (port) => [
      `--config.file=${configFile}`,
      `--storage.tsdb.path=${join(folder, `tsdb-${number}`)}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    '/-/ready',
  );
}

/** `a > 3` without its bound. */
function withoutBound(expr: string): string {
  return expr.replace(/ (?:[<>]|==) [\d.e]+\s*$/, '');
}

async function seriesOf(url: string, query: string): Promise<number> {
  const { result } = (await ask(url, `/api/v1/query?query=${encodeURIComponent(query)}`)) as { result: unknown[] };
  return result.length;
}

async function ask(url: string, path: string): Promise<unknown> {
  const { status, data, error } = (await (await fetch(url + path)).json()) as Record<string, unknown>;
  if (status !== 'success') throw new Error(String(error));
  return data;
}
