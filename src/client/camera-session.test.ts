import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CamerasBench } from '../../test/support/cameras-bench.ts';
import { numberedVideo, type NumberedVideo } from '../../test/support/numbered-video.ts';
import { parseGrant } from '../auth/grants.ts';
import { Principal } from '../auth/principal.ts';
import type { FrameOutcome } from '../base/frame.ts';
import { connectCameras, type CamerasSession, type CameraView, type CameraViewEvents } from './camera-session.ts';

const KEY_EVERY = 10;
const LOST: FrameOutcome = { kind: 'dropped', cause: 'superseded' };

let video: NumberedVideo;
let bench: CamerasBench;
let session: CamerasSession;
beforeAll(async () => {
  video = await numberedVideo({ frames: 20, keyEvery: KEY_EVERY, height: 80 });
});
beforeEach(async () => {
  bench = await CamerasBench.open(video);
  session = await connectCameras({ url: bench.url, reconnect: { delayMinMs: 1, delayMaxMs: 20 } });
});
afterEach(async () => {
  await session.close();
  bench.close();
});

/** What a view has told, in its order. */
function record(view: CameraView) {
  const events: { [Name in keyof CameraViewEvents]: CameraViewEvents[Name][] } = {
    state: [],
    init: [],
    fragment: [],
    result: [],
    gap: [],
    refused: [],
    closed: [],
  };
  const order: string[] = [];
  for (const name of Object.keys(events) as (keyof CameraViewEvents)[]) {
    view.on(name, (value) => {
      (events[name] as unknown[]).push(value);
      order.push(name);
    });
  }
  return { ...events, order, seqs: () => events.fragment.map(({ frame }) => frame.seq) };
}

const until = (condition: () => boolean) => expect.poll(condition, { interval: 5 }).toBe(true);
/** The session has no connection at this moment, and no time to make another one. */
async function cut(): Promise<void> {
  const lost = new Promise<void>((resolve) => {
    session.on('state', ({ state }) => state === 'reconnecting' && resolve());
  });
  bench.cut();
  await lost;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('a view', () => {
  test('tells state, initialisation, fragments and results, on the clock of the client', async () => {
    const north = bench.cameras.add('north');
    const view = session.open('north');
    const told = record(view);
    await until(() => told.state.length === 1);
    expect(view.state).toMatchObject({ state: 'live', stream: { codec_string: video.track.codecString } });
    north.play(3);
    north.find(1, LOST);
    await until(() => told.fragment.length === 3 && told.result.length === 1);
    const { epoch } = north.next;
    expect(told.init).toMatchObject([{ epoch, codecString: video.track.codecString, width: 320, height: 80 }]);
    expect(view.init).toBe(told.init[0]);
    expect(told.fragment.map(({ frame }) => frame)).toEqual(
      range(0, 3).map((seq) => ({ camera: 'north', epoch, seq })),
    );
    expect(told.fragment.map(({ isKey }) => isKey)).toEqual([true, false, false]);
    expect(told.fragment[0]!.init).toBe(told.init[0]);
    expect(told.result).toMatchObject([
      { frame: { camera: 'north', epoch, seq: 1 }, pipeline: 'objects', result: { outcome: 'dropped' } },
    ]);
    const { captureTimeMs, serverCaptureTimeMs } = told.fragment[2]!;
    // Both are on one machine here.
    expect(Math.abs(captureTimeMs - serverCaptureTimeMs)).toBeLessThan(1_000);
    expect(view.toServerTimeMs(captureTimeMs)).toBeCloseTo(serverCaptureTimeMs, -3);
    expect(view.metrics()).toMatchObject({ fragments: 3, results: 1, repeated: 0 });
  });

  test('has what it asks for, and ends when it is closed', async () => {
    const north = bench.cameras.add('north');
    const [raw, state] = [
      session.open('north', { results: false, state: false }),
      session.open('north', { raw: false, results: false }),
    ];
    const [rawTold, stateTold] = [record(raw), record(state)];
    await until(() => rawTold.state.length === 1 && stateTold.state.length === 1);
    north.become('stalled');
    north.play(1);
    north.find(0, LOST);
    await until(() => rawTold.fragment.length === 1 && stateTold.state.length === 2);
    expect(rawTold.order).toEqual(['state', 'init', 'fragment']);
    expect(stateTold.order).toEqual(['state', 'state']);
    raw.close();
    raw.close();
    expect(rawTold.closed).toEqual([{}]);
    expect(raw.closed).toBe(true);
    expect(session.views).toEqual([state]);
    await until(() => bench.lane.views === 1);
  });

  test('that is refused, or whose camera is removed, ends with the reason', async () => {
    bench.cameras.add('north');
    const [unknown, removed] = [record(session.open('west')), record(session.open('north'))];
    await until(() => unknown.closed.length === 1 && removed.state.length === 1);
    expect(unknown.closed[0]!.error).toMatchObject({ code: 'CAMERA_UNKNOWN' });
    bench.cameras.remove('north');
    await until(() => removed.closed.length === 1);
    expect(removed.closed[0]!.error).toMatchObject({ code: 'CAMERA_UNKNOWN' });
    expect(session.views).toEqual([]);
    expect(session.state).toBe('open');
  });

  test('numbers are not used again while messages of their views may come', async () => {
    const north = bench.cameras.add('north');
    north.play(5);
    const views = Array.from({ length: 50 }, () => {
      const view = session.open('north');
      view.close();
      return view;
    });
    const last = session.open('north');
    const told = record(last);
    await until(() => told.fragment.length === 5);
    expect(new Set([...views, last].map(({ id }) => id)).size).toBe(51);
    await until(() => bench.lane.views === 1);
  });
});

describe('when the connection is lost', () => {
  test('views go on where they were: nothing comes twice, and nothing is left out that is kept', async () => {
    const north = bench.cameras.add('north');
    const told = record(session.open('north'));
    await until(() => told.state.length === 1);
    north.play(KEY_EVERY + 3);
    await until(() => told.fragment.length === KEY_EVERY + 3);
    bench.cut();
    await until(() => session.reconnects === 1);
    north.play(3);
    await until(() => told.seqs().at(-1) === KEY_EVERY + 5);
    expect(told.seqs()).toEqual(range(0, KEY_EVERY + 6));
    expect(told.init).toHaveLength(1);
    expect(told.gap).toEqual([]);
    expect(session.views[0]!.metrics().repeated).toBeGreaterThan(0);
  });

  test('what was sent meanwhile, and is not kept, is told as a gap', async () => {
    const north = bench.cameras.add('north');
    const told = record(session.open('north'));
    north.play(3);
    await until(() => told.fragment.length === 3);
    await cut();
    north.play(2 * KEY_EVERY);
    await until(() => session.reconnects === 1 && told.seqs().at(-1) === 2 * KEY_EVERY + 2);
    const { epoch } = north.next;
    expect(told.gap).toEqual([
      {
        channel: 'raw',
        from: { camera: 'north', epoch, seq: 3 },
        to: { camera: 'north', epoch, seq: 2 * KEY_EVERY },
        count: 2 * KEY_EVERY - 3,
        cause: 'connection',
      },
    ]);
    expect(told.seqs()).toEqual([...range(0, 3), ...range(2 * KEY_EVERY, 2 * KEY_EVERY + 3)]);
  });

  test('a camera that has reconnected meanwhile has another epoch, and its initialisation', async () => {
    const north = bench.cameras.add('north');
    const told = record(session.open('north'));
    north.play(3);
    await until(() => told.fragment.length === 3);
    bench.cut();
    north.reconnect();
    north.play(2);
    await until(() => told.fragment.length === 5);
    expect(told.init).toHaveLength(2);
    expect(told.fragment.slice(3).every(({ init }) => init === told.init[1])).toBe(true);
    expect(told.gap).toMatchObject([{ cause: 'connection', from: { seq: 3 }, to: { seq: 0 }, count: undefined }]);
  });

  test('what is encoded anew may have another size within an epoch, and an initialisation for each; one that comes again is no other', async () => {
    const north = bench.cameras.add('north');
    const told = record(session.open('north', { channel: 'annotated' }));
    await until(() => north.annotating === 1);
    north.play(KEY_EVERY);
    north.resize(160, 40);
    north.play(KEY_EVERY);
    await until(() => told.fragment.length === 2 * KEY_EVERY);
    bench.cut();
    await until(() => north.annotating === 1 && session.state === 'open');
    north.play(KEY_EVERY);
    await until(() => told.fragment.length === 3 * KEY_EVERY);
    expect(told.init.map(({ width }) => width)).toEqual([320, 160]);
    expect(told.fragment.map(({ init }) => told.init.indexOf(init))).toEqual([
      ...Array.from({ length: KEY_EVERY }, () => 0),
      ...Array.from({ length: 2 * KEY_EVERY }, () => 1),
    ]);
  });

  test('views that are opened meanwhile are opened then', async () => {
    bench.cameras.add('north').play(2);
    await cut();
    const told = record(session.open('north'));
    await until(() => told.fragment.length === 2);
    expect(bench.lane.views).toBe(1);
  });
});

describe('a camera whose own codec cannot be played', () => {
  test('goes on encoded anew, in the same view, also over another connection, and in its own form again', async () => {
    const north = bench.cameras.add('north');
    const view = session.open('north');
    const told = record(view);
    north.play(2);
    await until(() => told.fragment.length === 2);
    const first = view.id;
    view.setTranscode(true);
    view.setTranscode(true);
    expect([view.isTranscoded, view.id === first, view.init]).toEqual([true, false, undefined]);
    await until(() => north.transcoding === 1 && told.state.length === 2);
    north.play(KEY_EVERY);
    await until(() => told.fragment.length > 2);
    expect(told.init.map(({ isTranscoded }) => isTranscoded)).toEqual([false, true]);
    await until(() => told.seqs().at(-1) === KEY_EVERY + 1);
    expect(told.seqs()).toEqual([0, 1, KEY_EVERY, KEY_EVERY + 1]);
    await cut();
    north.play(2);
    await until(() => told.seqs().at(-1) === KEY_EVERY + 3);
    // The last one came again: what follows it is all there is.
    expect(told.seqs().slice(4)).toEqual([KEY_EVERY + 2, KEY_EVERY + 3]);
    expect(told.gap).toEqual([]);
    view.setTranscode(false);
    await until(() => told.init.length === 3);
    expect(view.init?.isTranscoded).toBe(false);
    expect(session.views).toEqual([view]);
    expect(told.refused.length + told.closed.length).toBe(0);
    await until(() => bench.lane.views === 1);
  });

  test('goes on as it is where the server refuses that; a view that was opened so ends', async () => {
    const north = bench.cameras.add('north');
    north.mayTranscode = false;
    const view = session.open('north');
    const told = record(view);
    const other = record(session.open('north', { transcode: true }));
    await until(() => told.state.length === 1 && other.closed.length === 1);
    expect(other.closed).toMatchObject([{ error: { code: 'TRANSCODE_LIMIT_REACHED' } }]);
    view.setTranscode(true);
    await until(() => told.refused.length === 1 && told.state.length === 2);
    expect(told.refused).toMatchObject([{ error: { code: 'TRANSCODE_LIMIT_REACHED' } }]);
    expect(view.isTranscoded).toBe(false);
    north.play(3);
    await until(() => told.fragment.length === 3);
    expect(told.init).toMatchObject([{ isTranscoded: false }]);
    expect(told.closed).toEqual([]);
  });

  test('goes on with its own frames where encoding them anew fails; a view that was opened so ends', async () => {
    const north = bench.cameras.add('north');
    const view = session.open('north');
    const told = record(view);
    const other = record(session.open('north', { transcode: true }));
    await until(() => told.state.length === 1 && other.state.length === 1);
    view.setTranscode(true);
    await until(() => told.state.length === 2);
    north.play(1);
    await until(() => told.fragment.length === 1);
    north.failTranscode();
    await until(() => told.refused.length === 1 && told.state.length === 3 && other.closed.length === 1);
    const codes = [...told.refused, ...other.closed].map(({ error }) => error?.code);
    expect(codes).toEqual(['TRANSCODE_FAILED', 'TRANSCODE_FAILED']);
    expect([view.isTranscoded, north.transcoding]).toEqual([false, 0]);
    north.play(2);
    await until(() => told.init.length === 2);
    expect(told.init.map(({ isTranscoded }) => isTranscoded)).toEqual([true, false]);
    expect(told.closed).toEqual([]);
  });
});

describe('a camera with masks, whose own frames are not for this client', () => {
  beforeEach(() => {
    bench.principal = new Principal({ id: 'key:1', name: 'guard', grants: [parseGrant('read:cameras/#')] });
  });

  test('comes encoded anew, also where it gets its masks later', async () => {
    const north = bench.cameras.add('north');
    await cut();
    const told = record(session.open('north'));
    north.play(2);
    await until(() => told.fragment.length === 2);
    bench.cameras.mask('north');
    await until(() => north.transcoding === 1);
    north.play(KEY_EVERY);
    await until(() => told.seqs().at(-1) === KEY_EVERY + 1);
    const late = session.open('north', { results: false, state: false });
    const lateTold = record(late);
    await until(() => late.isMasked);
    north.play(KEY_EVERY);
    await until(() => lateTold.fragment.length > 0);
    expect(told.init.map(({ isTranscoded }) => isTranscoded)).toEqual([false, true]);
    expect(lateTold.init.map(({ isTranscoded }) => isTranscoded)).toEqual([true]);
    expect([...told.closed, ...lateTold.closed, ...told.refused]).toEqual([]);
  });

  test('has no frames where the server encodes no further one, and says so; it can be asked again', async () => {
    const north = bench.cameras.add('north');
    north.mayTranscode = false;
    bench.cameras.mask('north');
    await cut();
    const view = session.open('north');
    const told = record(view);
    const bare = record(session.open('north', { results: false, state: false }));
    await until(() => told.refused.length === 1 && told.state.length === 1 && bare.closed.length === 1);
    for (const { error } of [...told.refused, ...bare.closed]) expect(error?.code).toBe('TRANSCODE_LIMIT_REACHED');
    expect([view.isMasked, view.isTranscoded, view.closed]).toEqual([true, false, false]);
    north.mayTranscode = true;
    view.setTranscode(true);
    await until(() => north.transcoding === 1);
    north.play(1);
    await until(() => told.fragment.length === 1);
  });
});

test('views end with their session', async () => {
  bench.cameras.add('north');
  const view = session.open('north');
  const told = record(view);
  await session.close();
  expect(told.closed).toEqual([{}]);
  expect(() => session.open('north')).toThrow('closed');
  expect(session.state).toBe('closed');
});

test('an address without a server is a failure', async () => {
  await expect(connectCameras({ url: 'ftp://127.0.0.1' })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
});
