import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ChildReply, ChildRequest } from '../../test/support/supervised-child.ts';
import { Child, type ForkOptions } from './child.ts';

const SCRIPT = new URL('../../test/support/supervised-child.ts', import.meta.url);
const PARENT = fileURLToPath(new URL('../../test/support/supervised-parent.ts', import.meta.url));
const MIB = 2 ** 20;

function start(what: string, options: ForkOptions<ChildReply> = {}) {
  const replies: ChildReply[] = [];
  const child = Child.fork<ChildRequest, ChildReply>(SCRIPT, {
    args: [what],
    onMessage: (reply) => void replies.push(reply),
    ...options,
  });
  onTestFinished(async () => void (await child.stop()));
  return { child, replies, ready: () => expect.poll(() => replies.length, { timeout: 60_000 }).toBeGreaterThan(0) };
}

/** Gone, or waiting to be collected by whoever adopted it. */
function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform === 'linux' && /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return true;
  }
}

describe('a child', { timeout: 90_000 }, () => {
  test('takes messages and gives them, whatever the structured clone takes', async () => {
    const { child, replies, ready } = start('stay');
    await ready();
    const echo = { at: new Date(0), big: 5n, bytes: Uint8Array.of(1, 2), none: NaN };
    expect(child.send({ echo })).toBe(true);
    await expect.poll(() => replies[1]).toEqual({ echoed: echo });
    expect(child.counts).toMatchObject({ sent: 1, refused: 0, waiting: 0, received: 2 });
    expect(await child.stop()).toMatchObject({ cause: 'stopped', text: 'was ended by SIGTERM' });
    expect(child.send({ echo: 1 })).toBe(false);
    expect(child.counts.refused).toBe(1);
  });

  test('says its last word and ends', async () => {
    const { child, replies } = start('end');
    expect(await child.exited).toMatchObject({ cause: 'ended', code: 0 });
    expect(replies.at(-1)).toEqual({ echoed: 'last' });
  });

  test('that fails tells its exit code and the end of what it wrote', async () => {
    const exit = { cause: 'failed', code: 7, text: 'left with exit code 7', errorTail: 'all is lost' };
    expect(await start('crash').child.exited).toMatchObject(exit);
  });

  test('that is ended by a signal tells which', async () => {
    expect(await start('kill').child.exited).toMatchObject({ cause: 'signal', text: 'was ended by SIGSEGV' });
  });

  test('that cannot be started is no exception', async () => {
    const child = Child.spawn('/nowhere/at/all', []);
    expect(await child.exited).toMatchObject({ cause: 'unstartable', text: expect.stringContaining('ENOENT') });
    expect(await child.stop()).toMatchObject({ cause: 'unstartable' });
  });

  test('that ignores SIGTERM is killed after the grace time', async () => {
    const { child, ready } = start('deaf', { graceMs: 200 });
    await ready();
    expect(await child.stop()).toMatchObject({ cause: 'stopped', signal: 'SIGKILL' });
    expect(isGone(child.pid!)).toBe(true);
  });

  test('of any program: its output is there to read, its errors are kept', async () => {
    const child = Child.spawn(process.execPath, ['-e', 'console.log(5); console.error(6)'], { stdout: 'pipe' });
    expect(await text(child.stdout!)).toBe('5\n');
    expect(await child.exited).toMatchObject({ cause: 'ended', errorTail: '6' });
  });
});

describe('a pipe for data', { timeout: 90_000 }, () => {
  test('goes both ways, in order, beside the channel', async () => {
    const { child, replies, ready } = start('data', { hasData: true });
    await ready();
    const sent = Buffer.from(Array.from({ length: 3 * MIB }, (_, i) => i % 251));
    const back: Buffer[] = [];
    child.data!.on('data', (chunk: Buffer) => void back.push(chunk));
    for (let at = 0; at < sent.length; at += MIB) child.data!.write(sent.subarray(at, at + MIB));
    child.send({ echo: 1 });
    await expect.poll(() => back.reduce((sum, { length }) => sum + length, 0)).toBe(sent.length);
    expect(Buffer.concat(back).equals(sent)).toBe(true);
    await expect.poll(() => replies.at(-1)).toEqual({ echoed: 1 });
    expect(await child.stop()).toMatchObject({ cause: 'stopped' });
    // Nobody reads it any more: no exception.
    child.data!.write('late');
  });

  test('ends with a child that is killed', async () => {
    const { child, ready } = start('data', { hasData: true });
    await ready();
    const closed = once(child.data!.resume(), 'close');
    process.kill(child.pid!, 'SIGKILL');
    await closed;
    expect(await child.exited).toMatchObject({ cause: 'signal' });
  });

  test('is not there unless it was asked for', async () => {
    const { child, ready } = start('stay');
    await ready();
    expect(child.data).toBeNull();
  });
});

describe('limits', { timeout: 90_000 }, () => {
  test('of time', async () => {
    const { child } = start('stay', { limits: { wallMs: 300 } });
    expect(await child.exited).toMatchObject({
      cause: 'timeout',
      text: 'did not end within 300 ms',
      signal: 'SIGKILL',
    });
  });

  test('of silence: one that hangs is ended, one that answers is not', async () => {
    const limits = { silenceMs: 1_000 };
    const [hung, well] = [start('stay', { limits }), start('stay', { limits })];
    await hung.ready();
    await well.ready();
    hung.child.send('hang');
    const text = 'gave no sign of life for 1000 ms';
    expect(await hung.child.exited).toMatchObject({ cause: 'hung', text, signal: 'SIGKILL' });
    well.child.send({ echo: 'here' });
    await expect.poll(() => well.replies.at(-1)).toEqual({ echoed: 'here' });
  });

  test('of silence: one that never gives a first sign', async () => {
    const child = Child.spawn('sleep', ['60'], { limits: { silenceMs: 200, startMs: 300 } });
    onTestFinished(async () => void (await child.stop()));
    expect(await child.exited).toMatchObject({ cause: 'hung' });
  });

  test('of output: a flood ends it, and only its end is kept', async () => {
    const { child } = start('flood', { limits: { outputBytesMax: 5 * MIB } });
    const { cause, errorTail } = await child.exited;
    expect(cause).toBe('output');
    expect(errorTail.length).toBeLessThanOrEqual(8_192);
    expect(child.counts.outputBytes).toBeLessThan(6 * MIB);
  });

  test.runIf(process.platform === 'linux')('of memory', async () => {
    const { child } = start('eat', { limits: { memoryBytesMax: 400 * MIB } });
    expect(await child.exited).toMatchObject({ cause: 'memory', signal: 'SIGKILL' });
  });

  test('of messages that wait: a child that reads nothing fills no memory', async () => {
    const { child, ready } = start('stay', { waitingMax: 8 });
    await ready();
    child.send('hang');
    const echo = new Uint8Array(MIB);
    let taken = 0;
    for (let i = 0; i < 100; i++) taken += child.send({ echo }) ? 1 : 0;
    expect(taken).toBeLessThanOrEqual(8);
    expect(child.counts).toMatchObject({ refused: 100 - taken });
    expect(child.counts.waiting).toBeLessThanOrEqual(8);
  });
});

describe('no orphan', { timeout: 90_000 }, () => {
  const GONE = { timeout: 60_000 };

  async function withParent(what: string): Promise<{ parentPid: number; childPid: number }> {
    const parent = spawn(process.execPath, [PARENT, what], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void parent.kill('SIGKILL'));
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
    const childPid = Number(line);
    onTestFinished(() => void (isGone(childPid) || process.kill(childPid, 'SIGKILL')));
    expect(isGone(childPid)).toBe(false);
    return { parentPid: parent.pid!, childPid };
  }

  test('a child goes with a parent that is killed', async () => {
    const { parentPid, childPid } = await withParent('stay');
    process.kill(parentPid, 'SIGKILL');
    await expect.poll(() => isGone(childPid), GONE).toBe(true);
  });

  test('so does one that hangs, where a guard looks after it', async () => {
    const { parentPid, childPid } = await withParent('hang');
    process.kill(parentPid, 'SIGKILL');
    await expect.poll(() => isGone(childPid), GONE).toBe(true);
  });

  test('and a foreign program, of a parent that exits', async () => {
    const { parentPid, childPid } = await withParent('program');
    process.kill(parentPid, 'SIGTERM');
    await expect.poll(() => isGone(childPid), GONE).toBe(true);
  });
});
