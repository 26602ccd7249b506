import { expect, onTestFinished, test } from 'vitest';
import { CAMERA, expectBalanced, fleetWorld, NamingEngine } from '../../../test/support/camera-fleet.ts';
import { numberedClip } from '../../../test/support/coded-clip.ts';
import { readNumber } from '../../../test/support/picture-number.ts';
import { isLongRun } from '../../../test/support/forms.ts';
import { RtspServer } from '../../../test/support/rtsp-server.ts';
import type { Picture } from '../../base/picture.ts';
import type { NamedOutcome, RawFragment } from '../../base/camera-frame.ts';

const TIMEOUT = { timeout: 60_000 };

function numberIn({ bytes: data, width, height }: Picture): string {
  return String(readNumber({ data, width, height, pixelBytes: 3 }));
}

async function setUp(names: readonly string[]) {
  const clip = await numberedClip();
  const server = await RtspServer.open({ cameras: Object.fromEntries(names.map((name) => [name, { clip }])) });
  onTestFinished(() => server.close());
  const world = fleetWorld({
    script: null,
    engine: new NamingEngine(2, 5, numberIn),
    input: { width: 320, height: 180 },
    settings: { processes: 2, openTimeoutMs: 20_000, stallTimeoutMs: 3_000 },
  });
  world.set(Object.fromEntries(names.map((name) => [name, server.url(name)])));
  return { ...world, server, clip };
}

test.runIf(isLongRun)(
  'real cameras: each result is of the very picture of its frame, fragments are whole, and one that stalls harms nobody',
  { timeout: 180_000 },
  async () => {
    const { server, clip, set, camera, state, fleet } = await setUp(['a', 'b', 'c', 'd', 'e']);
    await expect
      .poll(() => ['a', 'b', 'c', 'd', 'e'].map(state), TIMEOUT)
      .toEqual(['live', 'live', 'live', 'live', 'live']);
    expect(camera('a').report().stream).toMatchObject({ format: 'rtsp', codec: 'h264', width: 320, height: 180 });

    const outcomes: NamedOutcome[] = [];
    const results = camera('a').results.subscribe({
      contract: { kind: 'all' },
      onReady: () => {
        for (let sample = results.next(); sample; sample = results.next()) outcomes.push(sample.data);
      },
    });
    const fragments: RawFragment[] = [];
    const raw = camera('a').raw.subscribe({
      contract: { kind: 'all' },
      onReady: () => {
        for (let sample = raw.next(); sample; sample = raw.next()) fragments.push(sample.data);
      },
    });
    const end = camera('a').watchRaw();
    const seen = () =>
      outcomes.flatMap(({ frame, outcome }) =>
        outcome.kind === 'result' && outcome.result.pipeline === 'objects'
          ? [{ seq: frame.seq, epoch: frame.epoch, number: Number(outcome.result.detections[0]!.label) }]
          : [],
      );
    await expect.poll(() => seen().length, TIMEOUT).toBeGreaterThan(30);
    await expect.poll(() => fragments.length, TIMEOUT).toBeGreaterThan(60);
    // The clip goes round: all frames of a connection are as far from their pictures' numbers.
    const { length } = clip.frames;
    const shifts = new Set(seen().map(({ seq, number }) => (((number - seq) % length) + length) % length));
    expect([...shifts]).toHaveLength(1);
    for (const [i, { frame }] of fragments.entries())
      if (i > 0) expect(frame.seq).toBe(fragments[i - 1]!.frame.seq + 1);
    expect(fragments[0]!.isKey).toBe(true);

    // Two of five fall silent.
    server.camera('b').mode = 'stall';
    server.camera('c').mode = 'stall';
    await expect.poll(() => [state('b'), state('c')].every((one) => one !== 'live'), TIMEOUT).toBe(true);
    const before = fragments.length;
    await expect.poll(() => fragments.length, TIMEOUT).toBeGreaterThan(before + 50);
    for (const [i, { frame }] of fragments.entries())
      if (i > 0) expect(frame.seq).toBe(fragments[i - 1]!.frame.seq + 1);
    expect(camera('a').report().connections).toBe(1);
    server.camera('b').mode = 'play';
    server.camera('c').mode = 'play';
    await expect.poll(() => [state('b'), state('c')], TIMEOUT).toEqual(['live', 'live']);
    end();

    const still = await camera('d').still(160);
    expect([still.jpeg[0], still.jpeg[1], still.width <= 160]).toEqual([0xff, 0xd8, true]);

    // Its process is killed: back with the next one, and the others notice nothing.
    const pids = new Map(['a', 'b', 'c', 'd', 'e'].map((id) => [id, camera(id).report().process!]));
    const victim = pids.get('e')!;
    process.kill(victim, 'SIGKILL');
    const killedMs = performance.now();
    const isBack = () =>
      ['a', 'b', 'c', 'd', 'e'].every((id) => state(id) === 'live' && camera(id).report().process !== victim);
    await expect.poll(isBack, { ...TIMEOUT, interval: 20 }).toBe(true);
    process.stdout.write(`live again ${Math.round(performance.now() - killedMs)} ms after the end of its process\n`);

    const good = await fleet.test({ ...CAMERA, url: server.url('a') });
    expect(good).toMatchObject({ reason: null, stream: { codec: 'h264' } });
    expect(good.still).not.toBeNull();
    const none = await fleet.test({ ...CAMERA, url: server.url('nobody') });
    expect(none.reason).toMatchObject({ code: 'CAMERA_NOT_FOUND' });
    set({ f: `${server.url('a').replace('rtsp:', 'gopher:')}` });
    await expect.poll(() => camera('f').report().reason?.code, TIMEOUT).toBeDefined();
    for (const id of pids.keys()) expectBalanced(camera(id));
  },
);
