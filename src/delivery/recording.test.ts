import { execFileSync, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { McapStreamReader } from '@mcap/core';
import fc from 'fast-check';
import { compressFrameSync } from 'lz4-napi';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { messageValues } from '../../test/support/arbitraries.ts';
import { decompressHandlers, readIndexed } from '../../test/support/recorded.ts';
import { ManualClock, systemClock, type Clock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { Payload } from '../protocol/payload.ts';
import { Hub } from '../stream/hub.ts';
import { Topics } from '../stream/topics.ts';
import { toMs, toNs } from './recording-format.ts';
import { Recorder, RECORDING_DEFAULTS, TAKEN_BYTES_MAX, type RecordingSettings } from './recording.ts';
import { lz4SizeBound } from './mcap-block.ts';
import { RecordingSource } from './replay-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-recording-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function setUp(historyMessages = 4_096, clock: Clock = systemClock, seed = 5) {
  const hub = new Hub({ clock, streamsMax: 100 });
  const settings = {
    topicsMax: 100,
    historyMessages,
    historyBytesMax: 64 << 20,
    historyDepartedBytesMax: 256 << 20,
    topicIdleMs: 60_000,
    readersMax: 100,
  };
  return { hub, topics: new Topics({ hub, clock, random: seededRandom(seed), settings }) };
}

function record(
  name: string,
  settings: Partial<RecordingSettings> = {},
  clock: Clock = systemClock,
): Promise<Recorder> {
  return Recorder.start({ path: join(folder, name), clock, settings: { ...RECORDING_DEFAULTS, ...settings } });
}

/** Publishes as a busy source does: in bursts, with the event loop's other work in between. */
async function publishAll(topics: Topics, count: number, names: readonly string[]): Promise<void> {
  for (let i = 0; i < count; i++) {
    for (const name of names) topics.publish(name, { payload: Payload.of({ n: i, name }), timeMs: 1_000 + i });
    if (i % 200 === 199) await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a recording', () => {
  test.each(['zstd', 'lz4', 'none'] as const)(
    '%s: every message is there, in order, for the public reader',
    async (compression) => {
      const { topics } = setUp();
      topics.publish('early', { payload: Payload.of('before the recording') });
      const recorder = await record('a.mcap', { compression, chunkBytes: 20_000 });
      recorder.followTopics(topics, '#');
      recorder.followTopics(topics, 'rover/+');
      await publishAll(topics, 2_000, ['rover/1', 'rover/2']);
      const report = await recorder.finish();
      expect(report).toMatchObject({ recorded: 4_000, lost: 0 });
      const { reader, messages, metadata } = await readIndexed(report.files[0]!);
      expect(reader.chunkIndexes.length).toBeGreaterThan(3);
      expect(new Set(reader.chunkIndexes.map((chunk) => chunk.compression))).toEqual(
        new Set([compression === 'none' ? '' : compression]),
      );
      expect(messages).toHaveLength(4_000);
      for (const name of ['rover/1', 'rover/2']) {
        const own = messages.filter(({ topic }) => topic === name);
        expect(own.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1));
        expect(own.map(({ value }) => (value as { n: number }).n)).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
        expect(own.map(({ publishTime }) => publishTime)).toEqual(own.map((_, i) => toNs(1_000 + i)));
      }
      const times = messages.map(({ logTime }) => logTime);
      expect(times).toEqual(times.toSorted((a, b) => (a < b ? -1 : Number(a > b))));
      expect(metadata[0]!.get('recorded')).toBe('4000');
      expect(metadata[0]!.get('lost')).toBe('0');
      const schema = [...reader.schemasById.values()].find(({ name }) => name === 'rover/1')!;
      expect(schema.encoding).toBe('jsonschema');
      expect(JSON.parse(Buffer.from(schema.data).toString())).toEqual({
        type: 'object',
        properties: { n: { type: 'number' }, name: { type: 'string' } },
      });
    },
  );

  test('takes in topics that match alone, and leaves the server’s own out', async () => {
    const { topics } = setUp();
    const recorder = await record('a.mcap');
    recorder.followTopics(topics, 'rover/#');
    for (const name of ['rover/pose', 'rover', 'drone/pose', '$server'])
      topics.publish(name, { payload: Payload.of({}) });
    expect((await recorder.finish()).topics.map(({ topic }) => topic).toSorted()).toEqual(['rover', 'rover/pose']);
  });

  test('a disk that cannot follow costs the recording messages, which are counted and told, and the publisher nothing', async () => {
    const { topics } = setUp(100);
    const recorder = await record('a.mcap');
    recorder.followTopics(topics, '#');
    // In one turn of the event loop: nothing can be written meanwhile.
    for (let i = 0; i < 1_000; i++) topics.publish('t', { payload: Payload.of({ i }) });
    const report = await recorder.finish();
    expect(report).toMatchObject({ recorded: 100, lost: 900 });
    const { messages, metadata } = await readIndexed(report.files[0]!);
    expect(messages.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 100 }, (_, i) => 901 + i));
    expect(metadata[0]!.get('lost')).toBe('900');
    expect(JSON.parse(metadata[0]!.get('topics')!)).toEqual([
      { topic: 't', epoch: String(topics.get('t')!.epoch), recorded: 100, lost: 900, queued: 0 },
    ]);
  });

  test('a topic that ends and begins anew is told apart by its epoch', async () => {
    const clock = new ManualClock();
    const { topics } = setUp(100, clock);
    const recorder = await record('a.mcap', {}, clock);
    recorder.followTopics(topics, 't');
    topics.publish('t', { payload: Payload.of({ life: 1 }) });
    await expect.poll(() => recorder.report().recorded).toBe(1);
    topics.close();
    const again = setUp(100, clock, 6).topics;
    recorder.followTopics(again, 't');
    again.publish('t', { payload: Payload.of({ life: 2 }) });
    const report = await recorder.finish();
    expect(report.topics).toHaveLength(2);
    const { messages, reader } = await readIndexed(report.files[0]!);
    expect(messages.map(({ value }) => value)).toEqual([{ life: 1 }, { life: 2 }]);
    expect(reader.channelsById.size).toBe(2);
  });

  test('log times follow the wall clock when it is set forward; set back they go on rising within the file', async () => {
    const clock = new ManualClock(1_000_000);
    const { topics } = setUp(100, clock);
    const recorder = await record('a.mcap', {}, clock);
    recorder.followTopics(topics, 'a');
    const publish = async (n: number) => {
      topics.publish('a', { payload: Payload.of({ n }) });
      await expect.poll(() => recorder.report().recorded).toBe(n);
      clock.advance(1_000);
    };
    await publish(1);
    clock.stepWall(500_000);
    await publish(2);
    clock.stepWall(-900_000);
    await publish(3);
    await recorder.finish();
    const { messages } = await readIndexed(join(folder, 'a.mcap'));
    expect(messages.map(({ logTime }) => toMs(logTime))).toEqual([1_000_000, 1_501_000, 1_502_000]);
    expect(messages.map(({ publishTime }) => toMs(publishTime))).toEqual([1_000_000, 1_501_000, 602_000]);
  });

  test('rotates by size and by time, and keeps so many files', async () => {
    const clock = new ManualClock();
    const { topics } = setUp(4_096, clock);
    const recorder = await record('a.mcap', { rotateBytes: 1, rotateMs: 5_000, filesMax: 2, chunkBytes: 1 }, clock);
    recorder.followTopics(topics, '#');
    for (let file = 1; file <= 3; file++) {
      topics.publish('t', { payload: Payload.of({ file }) });
      await expect.poll(() => recorder.report().files.at(-1)).toMatch(new RegExp(`a-${file + 1}\\.mcap$`));
    }
    topics.publish('t', { payload: Payload.of({ file: 4 }) });
    const report = await recorder.finish();
    expect(report.recorded).toBe(4);
    const values = [];
    for (const path of report.files) values.push(...(await readIndexed(path)).messages.map(({ value }) => value));
    expect(report.files.length).toBeLessThanOrEqual(2);
    expect(values.at(-1)).toEqual({ file: 4 });
    await expect(stat(join(folder, 'a.mcap'))).rejects.toThrow('ENOENT');
  });

  test('pictures and results of a video session lie on the same timeline', async () => {
    const clock = new ManualClock();
    const { hub, topics } = setUp(100, clock);
    const frames = hub.create<{ jpeg: Uint8Array }>('cam/frames', { capacity: 8 });
    const recorder = await record('a.mcap', {}, clock);
    recorder.followTopics(topics, '#');
    recorder.follow(frames, 'video/cam/frames', ({ captureTimeMs, data }) => ({
      timeMs: captureTimeMs,
      payload: Payload.bytes(data.jpeg),
    }));
    const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 1, 2, 3);
    topics.publish('pose', { payload: Payload.of({ x: 1 }) });
    clock.advance(5);
    frames.publish({ data: { jpeg } });
    clock.advance(5);
    topics.publish('pose', { payload: Payload.of({ x: 2 }) });
    const { files } = await recorder.finish();
    const { messages, reader } = await readIndexed(files[0]!);
    expect(messages.map(({ topic }) => topic)).toEqual(['pose', 'video/cam/frames', 'pose']);
    expect([...reader.schemasById.values()].map(({ name }) => name)).toContain('foxglove.CompressedImage');
    expect(messages[1]!.value).toMatchObject({ format: 'jpeg', data: Buffer.from(jpeg).toString('base64') });
    await using source = await RecordingSource.open(files[0]!);
    const raws = [];
    for await (const { payload } of source.messages(0)) raws.push(payload.raw);
    expect(raws[1]).toEqual(Buffer.from(jpeg));
  });
});

test('of a stream that ends everything is recorded, though nobody had the time to write it', async () => {
  const { hub } = setUp();
  const recorder = await record('a.mcap');
  const stream = hub.create<number>('cam/objects', { capacity: 16 });
  recorder.follow(stream, 'video/cam/objects', (sample) => ({
    timeMs: sample.captureTimeMs,
    payload: Payload.of({ n: sample.data }),
  }));
  for (let n = 0; n < 10; n++) stream.publish({ data: n });
  // In the same turn of the event loop, as when a camera says goodbye.
  stream.close();
  expect(await recorder.finish()).toMatchObject({ recorded: 10, lost: 0 });
  const { messages } = await readIndexed(join(folder, 'a.mcap'));
  expect(messages.map(({ value }) => value)).toEqual(Array.from({ length: 10 }, (_, n) => ({ n })));
});

test('what a busy machine comes to late is recorded all the same: its time to live is for who acts on it', async () => {
  const clock = new ManualClock();
  const { hub } = setUp(100, clock);
  const recorder = await record('a.mcap', {}, clock);
  const frames = hub.create<number>('cam/frames', { capacity: 8 });
  recorder.follow(frames, 'video/cam/frames', ({ captureTimeMs, data }) => ({
    timeMs: captureTimeMs,
    payload: Payload.of({ n: data }),
  }));
  frames.publish({ data: 1, deadlineMs: clock.now() + 75 });
  clock.advance(100);
  expect(await recorder.finish()).toMatchObject({ recorded: 1, lost: 0 });
});

test('of streams that end only so many bytes wait for the disk: the rest is lost, and counted', async () => {
  const { hub } = setUp();
  const recorder = await record('a.mcap');
  const stream = hub.create<Uint8Array>('cam/frames', { capacity: 100 });
  recorder.follow(stream, 'video/cam/frames', (sample) => ({
    timeMs: sample.captureTimeMs,
    payload: Payload.bytes(sample.data),
  }));
  const picture = new Uint8Array(2 ** 20);
  for (let n = 0; n < 100; n++) stream.publish({ data: picture });
  stream.close();
  expect(await recorder.finish()).toMatchObject({ recorded: TAKEN_BYTES_MAX / 2 ** 20, lost: 36 });
});

describe('what goes wrong', () => {
  test('a file that is cut anywhere is readable up to its last whole chunk', async () => {
    const { topics } = setUp();
    const recorder = await record('a.mcap', { chunkBytes: 4_000 });
    recorder.followTopics(topics, '#');
    await publishAll(topics, 1_000, ['t']);
    const whole = await readFile((await recorder.finish()).files[0]!);
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0.2, max: 0.95, noNaN: true }), async (share) => {
        const cut = join(folder, 'cut.mcap');
        await writeFile(cut, whole.subarray(0, Math.floor(whole.length * share)));
        await using source = await RecordingSource.open(cut);
        expect(source.complete).toBe(false);
        const values = [];
        for await (const { payload } of source.messages(0)) values.push((payload.value() as { n: number }).n);
        expect(values.length).toBeGreaterThan(0);
        expect(values).toHaveLength(source.messageCount);
        expect(values).toEqual(values.map((_, i) => i));
      }),
      { numRuns: 15 },
    );
  });

  test('while it is written, the file has another name and the public stream reader reads its chunks', async () => {
    const { topics } = setUp();
    const recorder = await record('a.mcap', { chunkBytes: 1 });
    recorder.followTopics(topics, '#');
    await publishAll(topics, 3, ['t']);
    await expect.poll(() => recorder.report().recorded).toBe(3);
    await expect(stat(join(folder, 'a.mcap'))).rejects.toThrow('ENOENT');
    await expect
      .poll(async () => {
        const reader = new McapStreamReader({ decompressHandlers });
        reader.append(await readFile(join(folder, 'a.mcap.part')));
        let messages = 0;
        for (let record; (record = reader.nextRecord());) messages += Number(record.type === 'Message');
        return messages;
      })
      .toBe(3);
    await recorder.finish();
    await expect(stat(join(folder, 'a.mcap.part'))).rejects.toThrow('ENOENT');
  });

  test('nothing that was recorded before is overwritten, whether it was finished or broken off', async () => {
    const { topics } = setUp();
    const bytesOf = (name: string) => readFile(join(folder, name));
    const whole = async (value: number): Promise<string> => {
      const recorder = await record('a.mcap');
      recorder.followTopics(topics, '#');
      topics.publish('t', { payload: Payload.of(value) });
      await expect.poll(() => recorder.report().recorded).toBe(1);
      return basename((await recorder.finish()).files[0]!);
    };
    expect([await whole(1), await whole(2)]).toEqual(['a.mcap', 'a-2.mcap']);
    const first = await bytesOf('a.mcap');
    // As a crash leaves one, and others that are none of its kin; one without a message is nothing to keep.
    await writeFile(join(folder, 'a-7.mcap.part'), (await bytesOf('a-2.mcap')).subarray(0, 100));
    for (const name of ['a-x.mcap', 'ab-90.mcap', 'a-91.txt', 'a-092.mcap']) await writeFile(join(folder, name), 'x');
    const empty = await record('a-8.mcap');
    await cp(join(folder, 'a-8.mcap.part'), join(folder, 'a-9.mcap.part'));
    await empty.finish();
    await rm(join(folder, 'a-8.mcap'));
    expect([await whole(3), await whole(4)]).toEqual(['a-8.mcap', 'a-9.mcap']);
    expect(await bytesOf('a.mcap')).toEqual(first);
    expect(await bytesOf('a-7.mcap.part')).toHaveLength(100);
  });

  test('a folder that is not there is told by name', async () => {
    await expect(record('none/a.mcap')).rejects.toMatchObject({
      code: 'OUTPUT_FAILED',
      message: expect.stringMatching(/none\/a\.mcap cannot be written: its folder does not exist/),
    });
  });

  test.skipIf(process.platform !== 'linux')('a full disk is told', async () => {
    await symlink('/dev/full', join(folder, 'a.mcap.part'));
    await expect(record('a.mcap')).rejects.toMatchObject({ code: 'OUTPUT_FAILED', message: /the disk is full/ });
  });

  test.skipIf(process.platform !== 'linux')('a file that is lost on the way ends the recording', async () => {
    const { topics } = setUp();
    const failures: unknown[] = [];
    const path = join(folder, 'a.mcap');
    const recorder = await Recorder.start({
      path,
      clock: systemClock,
      settings: RECORDING_DEFAULTS,
      onFailed: (error) => failures.push(error),
    });
    recorder.followTopics(topics, '#');
    topics.publish('t', { payload: Payload.of(1) });
    await expect.poll(() => recorder.report().recorded).toBe(1);
    await rm(`${path}.part`);
    await expect(recorder.finish()).rejects.toMatchObject({ code: 'OUTPUT_FAILED' });
    expect(failures).toEqual([recorder.failure]);
    expect(topics.publish('t', { payload: Payload.of(2) }).seq).toBe(2);
  });

  test('a file that somebody else has made meanwhile is not overwritten', async () => {
    const { topics } = setUp(50);
    const recorder = await Recorder.start({
      path: join(folder, 'a.mcap'),
      clock: systemClock,
      settings: { ...RECORDING_DEFAULTS, chunkBytes: 1, rotateBytes: 1 },
    });
    recorder.followTopics(topics, '#');
    await writeFile(join(folder, 'a-2.mcap'), 'somebody else’s');
    topics.publish('t', { payload: Payload.of(1) });
    await expect.poll(() => recorder.report().files.length).toBe(2);
    const { files } = await recorder.finish();
    expect(files).toEqual([join(folder, 'a.mcap'), join(folder, 'a-3.mcap')]);
    expect(await readFile(join(folder, 'a-2.mcap'), 'utf8')).toBe('somebody else’s');
  });

  test('a file that cannot be begun is tried again until it can be; what finds no room meanwhile is lost and counted', async () => {
    const { topics } = setUp(50);
    const gone = join(folder, 'disk');
    await mkdir(gone);
    const told: string[] = [];
    const recorder = await Recorder.start({
      path: join(gone, 'a.mcap'),
      clock: systemClock,
      settings: { ...RECORDING_DEFAULTS, chunkBytes: 1, rotateBytes: 1, retryMs: 10 },
      onInterrupted: ({ code }) => told.push(code),
      onResumed: (path) => told.push(path),
    });
    recorder.followTopics(topics, '#');
    await rename(gone, `${gone}.away`);
    topics.publish('t', { payload: Payload.of(1) });
    await expect.poll(() => recorder.status.state).toBe('interrupted');
    expect(recorder.status).toMatchObject({ error: 'its folder does not exist', interruptions: 1 });
    for (let n = 2; n <= 101; n++) topics.publish('t', { payload: Payload.of(n) });
    await expect.poll(() => recorder.status.lost).toBeGreaterThanOrEqual(50);
    await rename(`${gone}.away`, gone);
    await expect.poll(() => recorder.status.state).toBe('recording');
    const { recorded, lost, interruptions, files } = await recorder.finish();
    expect([recorded + lost, interruptions]).toEqual([101, 1]);
    expect(told).toEqual(['OUTPUT_FAILED', join(gone, 'a-2.mcap')]);
    const values = [];
    // The last one was begun when the one before it was full.
    for (const path of files.slice(0, -1)) {
      await using source = await RecordingSource.open(path);
      for await (const { payload } of source.messages(0)) values.push(payload.value());
    }
    expect(values).toHaveLength(recorded);
    expect([values[0], values.at(-1)]).toEqual([1, 101]);
    expect((await readIndexed(files.at(-1)!)).metadata[0]!.get('lost')).toBe(String(lost));
  });

  /** A file that takes so many bytes and fails then, as a disk does that is full: a pipe whose reader goes away. */
  async function fullAfter(path: string, bytes: number): Promise<void> {
    execFileSync('mkfifo', [path]);
    const reader = spawn('head', ['-c', String(bytes), path], { stdio: 'ignore' });
    onTestFinished(() => void reader.kill());
  }

  test.skipIf(process.platform !== 'linux').each([
    ['goes on in another file', 20, 1],
    ['ends', 0, 0],
  ])(
    'a write that fails half-way: the recording %s, and its accounts tell what is on the disk',
    async (_, retryMs, more) => {
      const { topics } = setUp();
      const path = join(folder, 'a.mcap');
      await fullAfter(`${path}.part`, 6_000);
      const recorder = await Recorder.start({
        path,
        clock: systemClock,
        settings: { ...RECORDING_DEFAULTS, compression: 'none', chunkBytes: 1_000, retryMs },
      });
      recorder.followTopics(topics, '#');
      let published = 0;
      // It may have gone on already when somebody looks.
      const isOver = (): boolean => recorder.status.state === 'failed' || recorder.status.interruptions > 0;
      const fill = async (): Promise<boolean> => {
        for (let i = 0; i < 10 && !isOver(); i++) topics.publish('t', { payload: Payload.of({ n: published++ }) });
        await new Promise((resolve) => setImmediate(resolve));
        return isOver();
      };
      await expect.poll(fill, { interval: 1, timeout: 5_000 }).toBe(true);
      if (more) await expect.poll(() => recorder.status.state).toBe('recording');
      for (let i = 0; i < more * 5; i++) topics.publish('t', { payload: Payload.of({ n: published++ }) });
      await recorder.finish().catch(() => undefined);
      const { recorded, lost, files } = recorder.report();
      expect([recorded > 0, lost > 0, recorded + lost]).toEqual([true, true, published]);
      expect(files).toEqual(more ? [`${path}.part`, join(folder, 'a-2.mcap')] : [`${path}.part`]);
      if (!more) return;
      const { messages, metadata } = await readIndexed(files[1]!);
      // The chunk that failed is lost; what came after it was kept.
      const firstKept = messages[0]!.sequence;
      expect(messages.map(({ sequence }) => sequence)).toEqual(messages.map((__, i) => firstKept + i));
      expect(messages.at(-1)!.sequence).toBe(published);
      expect(lost).toBe(firstKept - 1 - (recorded - messages.length));
      expect(metadata[0]!.get('lost')).toBe(String(lost));
      expect(metadata[0]!.get('interruptions')).toBe('1');
    },
  );

  test.skipIf(process.platform !== 'linux')(
    'what is of no use without a message that is lost is lost with it: the next file begins with one that needs no other',
    async () => {
      const GROUP = 40;
      const { hub } = setUp();
      const path = join(folder, 'a.mcap');
      await fullAfter(`${path}.part`, 6_000);
      const settings = { ...RECORDING_DEFAULTS, compression: 'none', chunkBytes: 1_000, retryMs: 5 } as const;
      const recorder = await Recorder.start({ path, clock: systemClock, settings });
      const stream = hub.create<number>('video', { capacity: 1_000 });
      recorder.follow(stream, 'video', ({ data }) => {
        return { timeMs: data, payload: Payload.of({ n: data }), continues: data % GROUP > 0 };
      });
      let published = 0;
      const isOver = async (): Promise<boolean> => {
        stream.publish({ data: published++ });
        await new Promise(setImmediate);
        return recorder.status.interruptions > 0;
      };
      await expect.poll(isOver, { interval: 1 }).toBe(true);
      await expect.poll(() => recorder.status.state).toBe('recording');
      for (let i = 0; i < 2 * GROUP; i++) stream.publish({ data: published++ });
      const { recorded, lost, files } = await recorder.finish();
      expect([lost > 0, recorded + lost]).toEqual([true, published]);
      const kept = (await readIndexed(files[1]!)).messages.map(({ value }) => (value as { n: number }).n);
      expect(kept[0]! % GROUP).toBe(0);
      expect(kept).toEqual(kept.map((_, i) => kept[0]! + i));
      expect(kept.at(-1)).toBe(published - 1);
    },
  );

  test('times that MCAP cannot say are the nearest that it can, and are counted', async () => {
    const { topics } = setUp();
    const recorder = await record('a.mcap');
    recorder.followTopics(topics, '#');
    const times = [-5, -0, 0, 5.25, 18_446_744_073_709, 18_446_744_073_710, 1e300, Infinity, Number.NaN];
    for (const timeMs of times) topics.publish('t', { payload: Payload.of({}), timeMs });
    const { odd_times: odd, files } = await recorder.finish();
    const last = 2n ** 64n - 1n;
    const { messages, metadata } = await readIndexed(files[0]!);
    expect(messages.map(({ publishTime }) => publishTime)).toEqual([
      0n,
      0n,
      0n,
      5_250_000n,
      18_446_744_073_709_000_000n,
      last,
      last,
      last,
      0n,
    ]);
    expect([odd, metadata[0]!.get('odd_times')]).toEqual([5, '5']);
    // A zero of its own is one that a publisher said.
    await using source = await RecordingSource.open(files[0]!);
    const back = [];
    for await (const { publishTimeMs } of source.messages(0)) back.push(publishTimeMs);
    expect(back.slice(0, 4)).toEqual([0, 0, 0, 5.25]);
  });

  test('every topic is in the accounts, however many there are', async () => {
    const hub = new Hub({ clock: systemClock, streamsMax: 2_000 });
    const recorder = await record('a.mcap');
    for (let n = 0; n < 1_500; n++) {
      const stream = hub.create<number>(`s${n}`, { capacity: 4 });
      recorder.follow(stream, `t/${n}`, ({ data }) => ({ timeMs: 1, payload: Payload.of(data) }));
      stream.publish({ data: n });
    }
    const { recorded, topics } = await recorder.finish();
    expect([recorded, topics.length]).toEqual([1_500, 1_500]);
  });

  test.each([
    ['empty', Buffer.alloc(0), /it is empty/],
    ['garbage', Buffer.from('this is no recording at all'), /it is not an MCAP file/],
    ['only a magic', Buffer.from([0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a]), /no message/],
    [
      'a record of 2^60 bytes',
      Buffer.from([0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 2]),
      /cannot be read/,
    ],
  ])('%s is no recording', async (_, bytes, message) => {
    const path = join(folder, 'bad.mcap');
    await writeFile(path, bytes);
    await expect(RecordingSource.open(path)).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE', message });
  });

  test('a file that is not there', async () => {
    await expect(RecordingSource.open(join(folder, 'none.mcap'))).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' });
  });

  test('a damaged byte anywhere gives an error or messages, never a crash', async () => {
    const { topics } = setUp();
    const recorder = await record('a.mcap', { chunkBytes: 500 });
    recorder.followTopics(topics, '#');
    await publishAll(topics, 60, ['t']);
    const whole = await readFile((await recorder.finish()).files[0]!);
    const path = join(folder, 'damaged.mcap');
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at]! ^= flip;
        await writeFile(path, damaged);
        try {
          await using source = await RecordingSource.open(path);
          for await (const { payload } of source.messages(0)) payload.value();
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: expect.stringMatching(/^(SOURCE_UNREADABLE|PAYLOAD_BAD)$/) });
        }
      }),
      { numRuns: 60 },
    );
  });
});

test('whatever is published comes back as it was', async () => {
  const value = fc.oneof(
    messageValues,
    fc.uint8Array({ maxLength: 40 }),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Uint8Array.of(0xff, 0xd8, 0xff, ...bytes)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 20 }), async (values) => {
      const { topics } = setUp();
      const recorder = await record('p.mcap');
      recorder.followTopics(topics, '#');
      for (const v of values) topics.publish('t', { payload: Payload.of(v) });
      await using source = await RecordingSource.open((await recorder.finish()).files[0]!);
      const back = [];
      for await (const { payload } of source.messages(0)) back.push(payload.value());
      const plain = (v: unknown): unknown => (v instanceof Uint8Array ? [...v] : v);
      expect(back.map(plain)).toEqual(values.map(plain));
    }),
    { numRuns: 25 },
  );
});

test('an LZ4 frame tells what it can become before it is unpacked', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3_000_000 }), (bytes) => {
      const bound = lz4SizeBound(compressFrameSync(Buffer.alloc(bytes)));
      expect(bound).toBeGreaterThanOrEqual(bytes);
      expect(bound).toBeLessThan(bytes + 4 * 2 ** 20);
    }),
    { numRuns: 20 },
  );
  expect(() => lz4SizeBound(Buffer.from('no frame at all'))).toThrow('not an LZ4 frame');
});

test('times survive as nanoseconds', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (ms) => {
      expect(Math.abs(toMs(toNs(ms)) - ms)).toBeLessThan(0.000_6);
    }),
  );
  expect(toNs(1_700_000_000_000.25)).toBe(1_700_000_000_000_250_000n);
});
