import { describe, expect, onTestFinished, test } from 'vitest';
import type { ChildReply, ChildRequest } from '../../test/support/supervised-child.ts';
import { Child, type ChildExit } from './child.ts';
import { restartDelayMs, type RestartPolicy } from './restart.ts';
import { Supervisor } from './supervisor.ts';

const SCRIPT = new URL('../../test/support/supervised-child.ts', import.meta.url);
const FAST: RestartPolicy = { firstDelayMs: 20, delayMaxMs: 100, healthyMs: 60_000 };

function supervise(what: string, policy: RestartPolicy = FAST) {
  const replies: ChildReply[] = [];
  const exits: (ChildExit & { restartInMs: number | undefined })[] = [];
  const supervisor = new Supervisor<ChildRequest, ChildReply>({
    start: () => Child.fork(SCRIPT, { args: [what], onMessage: (reply) => void replies.push(reply) }),
    policy,
    random: () => 0,
    onExit: (exit, restartInMs) => void exits.push({ ...exit, restartInMs }),
  });
  onTestFinished(() => supervisor.stop());
  return { supervisor, replies, exits };
}

describe('a child that ends', { timeout: 90_000 }, () => {
  test('is started again, and its accounts go on', async () => {
    const { supervisor, replies, exits } = supervise('stay');
    await expect.poll(() => replies.length, { timeout: 60_000 }).toBe(1);
    const { pid } = supervisor;
    supervisor.send('quit');
    await expect.poll(() => replies.length, { timeout: 60_000 }).toBe(2);
    expect(supervisor.pid).not.toBe(pid);
    expect(supervisor.accounts()).toMatchObject({
      state: 'running',
      starts: 2,
      sent: 1,
      received: 2,
      exits: { ended: 1 },
    });
    expect(exits).toMatchObject([{ cause: 'ended', restartInMs: 20 }]);
  });

  test('ever later while that does not help, until it is given up; messages to nobody are refused', async () => {
    const { supervisor, exits } = supervise('crash', { ...FAST, restartsMax: 3 });
    await expect.poll(() => supervisor.accounts().state, { timeout: 60_000 }).toBe('given_up');
    expect(exits.map(({ restartInMs }) => restartInMs)).toEqual([20, 40, 80, undefined]);
    expect(supervisor.accounts()).toMatchObject({ starts: 4, exits: { failed: 4 } });
    expect(supervisor.lastExit).toMatchObject({ errorTail: 'all is lost' });
    const { refused } = supervisor.accounts();
    expect(supervisor.send('quit')).toBe(false);
    expect(supervisor.accounts().refused).toBe(refused + 1);
    await supervisor.stop();
    expect(supervisor.accounts().state).toBe('given_up');
  });

  test('is not started again once it was stopped, running or waiting', async () => {
    const running = supervise('stay');
    await expect.poll(() => running.replies.length, { timeout: 60_000 }).toBe(1);
    await running.supervisor.stop();
    expect(running.supervisor.accounts()).toMatchObject({ state: 'stopped', starts: 1, exits: { stopped: 1 } });
    const waiting = supervise('crash', { ...FAST, firstDelayMs: 60_000, delayMaxMs: 60_000 });
    await expect.poll(() => waiting.supervisor.accounts().state, { timeout: 60_000 }).toBe('waiting');
    await waiting.supervisor.stop();
    expect(waiting.supervisor.accounts()).toMatchObject({ state: 'stopped', starts: 1 });
  });
});

test('the pause before a restart doubles up to its limit, and chance takes up to half of it', () => {
  const policy: RestartPolicy = { firstDelayMs: 100, delayMaxMs: 1_000, healthyMs: 1 };
  const delays = (random: number) => [1, 2, 3, 4, 5, 1_000].map((restart) => restartDelayMs(policy, restart, random));
  expect(delays(0)).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  expect(delays(1)).toEqual([50, 100, 200, 400, 500, 500]);
  const first = { ...policy, atOnce: 2 };
  expect([1, 2, 3, 4].map((restart) => restartDelayMs(first, restart, 0))).toEqual([0, 0, 100, 200]);
});
