import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { seededRandom } from '../base/random.ts';
import { Payload } from '../protocol/payload.ts';
import { Hub } from '../stream/hub.ts';
import { Topics } from '../stream/topics.ts';
import { RecordingFile } from './recording-file.ts';
import { RecordingSource, type ReplayMessage, type ReplaySource } from './replay-file.ts';
import { Replay, type ReplayOptions } from './replay.ts';
import { ReplayDesk } from './replay-desk.ts';

const BEGIN_MS = 1_700_000_000_000;
let replay: Replay | undefined;
afterEach(() => replay?.close());

function makeTopics(): Topics {
  const hub = new Hub({ clock: systemClock, streamsMax: 100 });
  const settings = {
    topicsMax: 3,
    historyMessages: 4_096,
    historyBytesMax: 1 << 24,
    historyDepartedBytesMax: 1 << 26,
    topicIdleMs: 60_000,
    readersMax: 100,
  };
  return new Topics({ hub, clock: systemClock, random: seededRandom(1), settings });
}

/** `count` messages, `stepMs` apart. */
function source(count: number, stepMs: number, topic = 't'): ReplaySource {
  const messages = Array.from({ length: count }, (_, n): ReplayMessage => {
    const logTimeMs = BEGIN_MS + n * stepMs;
    return { topic, logTimeMs, publishTimeMs: logTimeMs - 3, payload: Payload.of({ n }) };
  });
  return {
    startMs: BEGIN_MS,
    endMs: BEGIN_MS + (count - 1) * stepMs,
    async *messages(fromMs) {
      for (const message of messages) if (message.logTimeMs >= fromMs) yield message;
    },
  };
}

function start(options: Pick<ReplayOptions, 'source'> & Partial<ReplayOptions>) {
  const topics = options.topics ?? makeTopics();
  replay = new Replay({ topics, clock: systemClock, ...options });
  const samples = (name = 't') => [...(topics.get(name)?.stream.history(0) ?? [])];
  const seen = (name = 't') => samples(name).map(({ data }) => (data.payload.value() as { n: number }).n);
  return { topics, replay, seen, samples };
}

describe('a replay', () => {
  test('publishes everything in order, with the pauses of the recording divided by the speed', async () => {
    const [beganMs, beganAtMs] = [performance.now(), systemClock.now()];
    const { replay, seen, samples } = start({ source: source(21, 50), speed: 10 });
    await replay.untilEnded();
    const tookMs = performance.now() - beganMs;
    expect(seen()).toEqual(Array.from({ length: 21 }, (_, n) => n));
    expect(tookMs).toBeGreaterThan(98);
    // Late beside a busy neighbour, early never.
    const earlyMs = samples().map(({ publishedTimeMs }, n) => beganAtMs + n * 5 - publishedTimeMs);
    expect(Math.max(...earlyMs)).toBeLessThan(1);
    // A message is as old when it is played as it was when it was recorded.
    for (const { publishedTimeMs, data } of samples()) expect(publishedTimeMs - data.timeMs).toBeGreaterThan(2.9);
    expect(replay.state).toMatchObject({ state: 'ended', position_s: 1, duration_s: 1, published: 21, refused: 0 });
  });

  test('leaves the times as they were when asked to, and puts a prefix before the names', async () => {
    const { replay, samples } = start({ source: source(2, 1), times: 'recorded', prefix: 'replay/' });
    await replay.untilEnded();
    expect(samples('replay/t').map(({ data }) => data.timeMs)).toEqual([BEGIN_MS - 3, BEGIN_MS - 2]);
  });

  test('plays a part', async () => {
    const { replay, seen } = start({ source: source(10, 10), speed: 20, fromMs: 20, toMs: 50 });
    await replay.untilEnded();
    expect(seen()).toEqual([2, 3, 4, 5]);
  });

  test('paused it waits; it goes on where it was', async () => {
    // Of a second: on a busy machine it is not over before it is paused.
    const { replay, seen } = start({ source: source(50, 20), speed: 1, paused: true });
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect([seen(), replay.state.state, replay.state.position_s]).toEqual([[], 'paused', 0]);
    replay.play();
    await expect.poll(() => seen().length).toBeGreaterThan(1);
    replay.pause();
    const [paused, position] = [seen().length, replay.state.position_s];
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect([seen().length, replay.state.position_s]).toEqual([paused, position]);
    replay.play();
    await replay.untilEnded();
    expect(seen()).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  test('seeks forward and back, also after its end', async () => {
    const { replay, seen } = start({ source: source(1_001, 1_000) });
    await expect.poll(() => seen()).toEqual([0]);
    replay.seek(1_000_000);
    await replay.untilEnded();
    expect(seen()).toEqual([0, 1_000]);
    replay.seek(999_990);
    replay.setSpeed(20);
    await expect.poll(() => replay.state.state, { timeout: 3_000 }).toBe('ended');
    expect(seen()).toEqual([0, 1_000, 1_000]);
    replay.play();
    await expect.poll(() => seen().slice(0, 5)).toEqual([0, 1_000, 1_000, 0, 1]);
  });

  test('loops, and one moment is no loop', async () => {
    const looped = start({ source: source(3, 2), loop: true });
    await expect.poll(() => looped.seen().length).toBeGreaterThan(8);
    await replay!.close();
    expect(looped.seen().slice(0, 7)).toEqual([0, 1, 2, 0, 1, 2, 0]);
    const once = start({ source: source(1, 1), loop: true });
    await once.replay.untilEnded();
    expect(once.seen()).toEqual([0]);
  });

  test('names that are no topics are counted, a leading slash is left out, and the rest is played', async () => {
    const strange = await collect(...['a//b', '/imu/#', '/imu', '/replay/control'].map((topic) => source(1, 1, topic)));
    const { replay, seen } = start({ source: strange });
    await replay.untilEnded();
    expect(replay.state).toMatchObject({ published: 1, refused: 3, refused_by: { TOPIC_BAD: 2, TOPIC_FORBIDDEN: 1 } });
    expect(seen('imu')).toEqual([0]);
  });

  test.each([
    [{ speed: 0 }, /speed 0 /],
    [{ speed: 21 }, /speed 21 /],
    [{ speed: Number.NaN }, /speed NaN /],
    [{ fromMs: 50 }, /from 0.05 s to 0.009 s/],
    [{ fromMs: -1 }, /from -0.001 s/],
    [{ fromMs: 5, toMs: 4 }, /from 0.005 s to 0.004 s/],
  ])('refuses %o', (options, message) => {
    expect(() => start({ source: source(10, 1), ...options })).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) }),
    );
  });

  test('what cannot be played of a source is counted and said, once of each kind, and the rest is played', async () => {
    const damaged: ReplaySource = {
      ...source(5, 1),
      async *messages(fromMs, onRefused) {
        for (let i = 0; i < 3; i++) onRefused?.(new SightlineError('PAYLOAD_BAD', 'the data is not JSON'), '/j');
        onRefused?.(new SightlineError('SOURCE_UNREADABLE', 'the chunk at byte 5 cannot be read'), undefined);
        yield* source(2, 1).messages(fromMs);
      },
    };
    const { log, texts } = collectingLog();
    const { replay, seen } = start({ source: damaged, log });
    await replay.untilEnded();
    expect(seen()).toEqual([0, 1]);
    expect(replay.state).toMatchObject({
      refused: 4,
      refused_by: { PAYLOAD_BAD: 3, SOURCE_UNREADABLE: 1 },
      error: null,
    });
    expect(texts()).toEqual([
      expect.stringMatching(/^left out of "\/j": the data is not JSON \(PAYLOAD_BAD\)/),
      expect.stringMatching(/^left out: the chunk at byte 5 cannot be read \(SOURCE_UNREADABLE\)/),
    ]);
  });

  test('a gap of years is skipped and said; one that is short enough is waited for', async () => {
    const times = [0, 60, BEGIN_MS, BEGIN_MS + 60];
    const gappy: ReplaySource = {
      startMs: 0,
      endMs: BEGIN_MS + 60,
      async *messages() {
        for (const [n, logTimeMs] of times.entries()) {
          yield { topic: 't', logTimeMs, publishTimeMs: logTimeMs, payload: Payload.of({ n }) };
        }
      },
    };
    const { log, texts } = collectingLog();
    const { replay, seen, samples } = start({ source: gappy, gapMaxMs: 100, log });
    await replay.untilEnded();
    expect(seen()).toEqual([0, 1, 2, 3]);
    const played = samples().map(({ publishedTimeMs }) => publishedTimeMs);
    expect(played[1]! - played[0]!).toBeGreaterThan(55);
    expect(played[3]! - played[2]!).toBeGreaterThan(55);
    for (const { publishedTimeMs, data } of samples()) expect(publishedTimeMs - data.timeMs).toBeGreaterThan(-1);
    expect(texts()).toEqual(['after 0.1 s there is no message for 53.9 years: skipped']);
    expect(replay.state.skipped_s).toBeCloseTo(BEGIN_MS / 1000, -1);
  });

  test('a source that goes on beyond the end that it has told is played to its end', async () => {
    const longer: ReplaySource = { ...source(3, 5), messages: (fromMs) => source(6, 5).messages(fromMs) };
    const { replay, seen } = start({ source: longer });
    expect(replay.state.duration_s).toBe(0.01);
    await replay.untilEnded();
    expect(seen()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(replay.state).toMatchObject({ state: 'ended', duration_s: 0.025, position_s: 0.025 });
    await replay.close();
    const part = start({ source: longer, toMs: 10 });
    await part.replay.untilEnded();
    expect(part.seen()).toEqual([0, 1, 2]);
  });

  test('a source that breaks ends it with the error', async () => {
    const broken: ReplaySource = {
      ...source(5, 1),
      async *messages() {
        yield* source(2, 1).messages(0);
        throw new Error('torn');
      },
    };
    const { replay, seen } = start({ source: broken });
    await expect(replay.untilEnded()).rejects.toThrow('torn');
    expect(seen()).toEqual([0, 1]);
    expect(replay.state).toMatchObject({ state: 'failed', error: 'torn (INTERNAL)' });
  });
});

describe('a file', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-replay-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('is played from any place', async () => {
    const path = join(folder, 'a.mcap');
    const file = await RecordingFile.create(path, { compression: 'zstd', chunkBytes: 2_000 });
    for (let n = 0; n < 500; n++) {
      const logTimeMs = BEGIN_MS + n * 10;
      const payload = Payload.of({ n });
      await file.write({ topic: 't', epoch: '1', seq: n + 1, logTimeMs, publishTimeMs: logTimeMs, payload });
    }
    await file.finish(new Map());
    await using source = await RecordingSource.open(path);
    expect(source).toMatchObject({ startMs: BEGIN_MS, messageCount: 500, topics: ['t'], complete: true });
    const { replay, seen } = start({ source, speed: 20, fromMs: 4_800 });
    await replay.untilEnded();
    expect(seen()).toEqual(Array.from({ length: 20 }, (_, i) => 480 + i));
  });
});

describe('the desk', () => {
  const send = (topics: Topics, value: unknown) => topics.publish('replay/control', { payload: Payload.of(value) });
  const lastState = (topics: Topics) =>
    [...topics.get('replay/state')!.stream.history(0)].at(-1)!.data.payload.value() as Record<string, unknown>;

  test('obeys what is published to replay/control and tells its state', async () => {
    const { replay, topics, seen } = start({ source: source(1_001, 1_000), paused: true });
    using desk = new ReplayDesk(replay, topics);
    expect(lastState(topics)).toMatchObject({ state: 'paused', duration_s: 1_000 });
    send(topics, { position_s: 500, speed: 20 });
    expect(lastState(topics)).toMatchObject({ state: 'paused', position_s: 500, speed: 20 });
    send(topics, { paused: false, loop: true });
    expect(lastState(topics)).toMatchObject({ state: 'playing', loop: true });
    await expect.poll(() => seen()[0]).toBe(500);
    send(topics, { paused: true });
    expect(replay.state.state).toBe('paused');
    expect(desk.refused).toBe(0);
  });

  test('tells that the end was reached', async () => {
    const { replay, topics } = start({ source: source(3, 10) });
    using _desk = new ReplayDesk(replay, topics);
    await expect
      .poll(() => lastState(topics), { timeout: 5_000 })
      .toMatchObject({ state: 'ended', position_s: 0.02, published: 3 });
  });

  test('what makes no sense changes nothing and is counted', () => {
    const { replay, topics } = start({ source: source(10, 1_000), paused: true });
    using desk = new ReplayDesk(replay, topics);
    for (const value of [null, 'x', { speed: 99 }, { position_s: 'far' }, { paused: 1 }, { speed: 2, loop: 'no' }]) {
      send(topics, value);
    }
    expect(desk.refused).toBe(6);
    expect(replay.state).toMatchObject({ state: 'paused', speed: 1, position_s: 0, loop: false });
    expect(lastState(topics)).toMatchObject({ error: expect.stringMatching(/"loop"/) });
  });
});

async function collect(...sources: ReplaySource[]): Promise<ReplaySource> {
  const all: ReplayMessage[] = [];
  for (const part of sources) for await (const message of part.messages(0)) all.push(message);
  return {
    startMs: BEGIN_MS,
    endMs: BEGIN_MS,
    async *messages() {
      yield* all;
    },
  };
}
