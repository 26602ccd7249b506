import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys, loadKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { RecordingSource } from '../../src/delivery/replay-file.ts';
import { runHere } from '../support/command.ts';
import { ServerProcess } from '../support/server-process.ts';
import { SwallowingProxy } from '../support/swallowing-proxy.ts';

/** A server that is killed in the middle of its work, and started again on the same folders. Its alerts: `alerts.test.ts`. */

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const TOPIC = 'rover/1/state';
/** Beside each message, so that some hundred of them fill chunks of a recording. */
const FREIGHT = 'x'.repeat(2_000);
const SOON = { delayMinMs: 50, delayMaxMs: 200 };

let folder: string;
const open: { close(): unknown }[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-crash-'));
});
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The numbers in a recording, by the project's own reader, and whether it is known to be broken off. */
async function recorded(path: string): Promise<{ numbers: number[]; complete: boolean }> {
  await using source = await RecordingSource.open(path);
  const numbers: number[] = [];
  for await (const { topic, payload } of source.messages(0)) {
    if (topic === TOPIC) numbers.push((payload.value() as { n: number }).n);
  }
  return { numbers, complete: source.complete };
}

const rising = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

test('sessions come back by themselves, nothing confirmed is lost in silence, and both recordings are there', async () => {
  const keysFile = join(folder, 'keys.json');
  const made = makeKey({ name: 'operator', grants: [parseGrant('admin')], createdMs: Date.now() });
  await changeKeys(keysFile, () => ({ keys: [made.key], revokedTokens: [] }));
  const words = ['serve', '--set', `auth.keys_file=${keysFile}`, '--record', join(folder, 'drive.mcap')];
  await using first = await ServerProcess.start(words);
  const { port } = new URL(first.url);
  // The line of one reader goes dead before the server does: what is confirmed from then on it cannot have got.
  const proxy = new SwallowingProxy(Number(port));
  open.push(proxy);
  const options = { accessToken: made.text, reconnect: SOON, lineTimeoutMs: 2_000 };
  const listen = async (url: string) => {
    const session = await connectTelemetry({ ...options, url });
    open.push(session);
    const messages = session.subscribe(TOPIC, { contract: 'reliable' });
    const got: { n: number; epoch: number }[] = [];
    const told: string[] = [];
    messages.on('topic', ({ recovered }) => void told.push(recovered ? 'topic' : 'gap'));
    messages.on('loss', ({ cause }) => void told.push(cause));
    void (async () => {
      for await (const batch of messages)
        for (const { data } of batch.messages) got.push({ n: (data as { n: number }).n, epoch: batch.epoch });
    })();
    await messages.ready;
    return { got, told, messages };
  };
  const near = await listen(first.url);
  const far = await listen(`http://127.0.0.1:${await proxy.listen()}`);

  const publisher = await connectTelemetry({ ...options, url: first.url });
  open.push(publisher);
  const states: string[] = [];
  publisher.on('state', ({ state }) => void states.push(state));
  const confirmed = new Set<number>();
  const failed: unknown[] = [];
  let n = 0;
  const enough = new AbortController();
  const publishing = (async () => {
    while (!enough.signal.aborted) {
      const { unconfirmed } = publisher.metrics().publish;
      if (unconfirmed >= 100) {
        await sleep(5);
        continue;
      }
      const mine = ++n;
      publisher.publish(TOPIC, { n: mine, freight: FREIGHT }, { reliable: true }).then(
        () => confirmed.add(mine),
        (error) => failed.push(error),
      );
      await nextTurn();
    }
  })();

  await expect.poll(() => far.got.length).toBeGreaterThan(300);
  proxy.swallow({ down: true });
  const deadAt = confirmed.size;
  await expect.poll(() => confirmed.size).toBeGreaterThan(deadAt + 100);
  await first.stop('SIGKILL');
  const part = join(folder, 'drive.mcap.part');
  const left = readFileSync(part);

  await using second = await ServerProcess.start(words, {}, { port });
  await expect.poll(() => states, { timeout: 20_000 }).toEqual(['reconnecting', 'open']);
  const resumedAt = confirmed.size;
  await expect.poll(() => confirmed.size, { timeout: 20_000 }).toBeGreaterThan(resumedAt + 300);
  enough.abort();
  await publishing;
  await expect.poll(() => publisher.metrics().publish.unconfirmed).toBe(0);
  expect(failed).toEqual([]);
  expect([...confirmed].toSorted((a, b) => a - b)).toEqual(rising(1, n));

  for (const [name, { got, told, messages }] of Object.entries({ near, far })) {
    await expect.poll(() => got.at(-1)?.n, { timeout: 20_000 }).toBe(n);
    // Within the life of a topic each comes once and in order. Between the two is all that is missing, and the reader was told so.
    const lives = [...Map.groupBy(got, ({ epoch }) => epoch).values()].map((life) => life.map((one) => one.n));
    expect([name, lives.length]).toEqual([name, 2]);
    const [before, after] = lives as [number[], number[]];
    expect(before).toEqual(rising(1, before.length));
    expect(after).toEqual(rising(after[0]!, n - after[0]! + 1));
    expect([name, told]).toEqual([name, ['topic', 'gap']]);
    if (name === 'far') expect(after[0]! - before.at(-1)!).toBeGreaterThan(100);
    expect(messages.metrics().lost.unexplained).toBe(0);
  }

  const broken = await recorded(part);
  expect(broken).toEqual({ numbers: rising(1, broken.numbers.length), complete: false });
  // A chunk at most is lost of what came before the end.
  expect(broken.numbers.length).toBeGreaterThan(100);
  const replay = await runHere(folder, ['replay', part, '--once', '--port', '0', '--speed', '20']);
  expect([replay.code, replay.err]).toEqual([0, '']);
  expect(second.errAtStart + second.err).toContain('drive-2.mcap');
  await second.stop();
  expect(readFileSync(part)).toEqual(left);
  const whole = await recorded(join(folder, 'drive-2.mcap'));
  expect(whole).toEqual({ numbers: rising(n - whole.numbers.length + 1, whole.numbers.length), complete: true });
  expect(whole.numbers.length).toBeGreaterThan(300);
});

test('keys stay whole when commands are killed that change them, and the next command goes on', async () => {
  const keysFile = join(folder, 'keys.json');
  const words = ['--set', `auth.keys_file=${keysFile}`, 'keys'];
  expect((await runHere(folder, [...words, 'add', 'first', '--allow', 'admin'])).code).toBe(0);
  for (const name of ['second', 'third']) {
    const child = spawn(process.execPath, [COMMAND, ...words, 'add', name, '--allow', 'read'], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    while (!existsSync(`${keysFile}.lock`) && child.exitCode === null) await nextTurn();
    child.kill('SIGKILL');
    await ended;
    // Before the change or behind it, and nothing in between.
    expect((await loadKeys(keysFile)).keys[0]).toMatchObject({ name: 'first' });
  }
  const { code, err } = await runHere(folder, [...words, 'add', 'last', '--allow', 'read']);
  expect([code, err]).toEqual([0, expect.stringContaining('last')]);
  const names = (await loadKeys(keysFile)).keys.map(({ name }) => name);
  expect([names[0], names.at(-1)]).toEqual(['first', 'last']);
});

// A disk that takes no more bytes, as far as a process can tell.
test.skipIf(process.platform === 'win32')('a full disk leaves the keys as they are, and says so', async () => {
  const keysFile = join(folder, 'keys.json');
  const words = ['--set', `auth.keys_file=${keysFile}`, 'keys'];
  expect((await runHere(folder, [...words, 'add', 'first', '--allow', 'admin'])).code).toBe(0);
  const before = readFileSync(keysFile);
  const line = [process.execPath, COMMAND, ...words, 'add', 'second', '--allow', 'read'];
  const child = spawn('sh', ['-c', 'ulimit -f 0; exec "$@"', 'sh', ...line], { stdio: 'pipe' });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  expect([code, out, err]).toEqual([73, '', expect.stringMatching(/keys\.json .*\(OUTPUT_FAILED\)/)]);
  expect(readFileSync(keysFile)).toEqual(before);
  expect(readdirSync(folder)).toEqual(['keys.json']);
  expect((await runHere(folder, [...words, 'add', 'second', '--allow', 'read'])).code).toBe(0);
});
