import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isLongRun } from '../../../test/support/forms.ts';
import { CAMERA, expectBalanced, fleetWorld, NamingEngine } from '../../../test/support/camera-fleet.ts';
import { expectFiguresBalanced, sumsOf } from '../../../test/support/figure-accounts.ts';
import { scripted, SCRIPTED_GOP } from '../../../test/support/scripted-cameras.ts';
import type { Sample } from '../../base/sample.ts';
import { FigureRegistry } from '../../observe/figures.ts';
import { framesPart } from '../../observe/frame-accounts.ts';
import { camerasPart } from './camera-figures.ts';
import type { Camera } from './camera.ts';
import type { CameraDocument } from './documents.ts';
import type { Hardware } from './hardware.ts';
import type { NamedOutcome, RawFragment } from '../../base/camera-frame.ts';

const TIMEOUT = { timeout: 60_000 };

/** A file that is not there yet, for deeds that are done once. */
async function onceFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fleet-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'done');
}

function resultsOf(camera: Camera): Sample<NamedOutcome>[] {
  const seen: Sample<NamedOutcome>[] = [];
  const take = () => {
    for (let sample = reader.next(); sample; sample = reader.next()) seen.push(sample);
  };
  const reader = camera.results.subscribe({ contract: { kind: 'all' }, onReady: take, onEnding: take });
  return seen;
}

function fragmentsOf(camera: Camera): RawFragment[] {
  const seen: RawFragment[] = [];
  const take = () => {
    for (let sample = reader.next(); sample; sample = reader.next()) seen.push(sample.data);
  };
  const reader = camera.raw.subscribe({ contract: { kind: 'all' }, onReady: take, onEnding: take });
  return seen;
}

/** Every frame in its place: no gap but where the camera began anew. */
function expectGapless(fragments: readonly RawFragment[]): void {
  for (const [i, { frame, isKey }] of fragments.entries()) {
    const before = fragments[i - 1]?.frame;
    if (before?.epoch === frame.epoch) expect(frame.seq).toBe(before.seq + 1);
    else expect(isKey).toBe(true);
  }
}

describe('a fleet', { timeout: 90_000 }, () => {
  test('reads cameras, and each result has the name of the very frame', async () => {
    const { set, camera, states, engine } = fleetWorld();
    set({ a: scripted(), b: { url: scripted({ does: 'change', width: 64 }), model: 'boxed' } });
    const seen = resultsOf(camera('b'));
    await expect.poll(states, TIMEOUT).toEqual(['live', 'live']);
    const isResult = ({ data }: Sample<NamedOutcome>) => data.outcome.kind === 'result';
    await expect.poll(() => new Set(seen.filter(isResult).map(({ data }) => data.frame.epoch)).size, TIMEOUT).toBe(2);
    for (const { data, captureTimeMs } of seen) {
      const { frame, outcome, pipeline } = data;
      expect([frame.camera, pipeline, data.clock]).toEqual(['b', 'objects', 'camera']);
      if (outcome.kind !== 'result' || outcome.result.pipeline !== 'objects') continue;
      expect(outcome.result.detections[0]!.label).toBe(`${frame.epoch}/${frame.seq}`);
      expect([outcome.width, outcome.height]).toEqual([64, 18]);
      expect(captureTimeMs).toBeLessThan(outcome.receivedTimeMs);
      expect(captureTimeMs).toBeGreaterThan(outcome.receivedTimeMs - 5_000);
    }
    const jobs = engine as NamingEngine;
    expect(jobs.jobs.every(({ picture }) => picture.width === 8 && picture.height === 8)).toBe(true);
    expectBalanced(camera('a'));
    expectBalanced(camera('b'));
    const report = camera('b').report();
    expect(report).toMatchObject({ id: 'b', class: 'low', connections: 1, stream: { codec: 'h264', width: 64 } });
    expect(report.url).toMatch(/^rtsp:\/\/camera\.example\//);
  });

  test('other masks are another connection, and what came before it is forgotten', async () => {
    const { set, camera, fleet } = fleetWorld({ settings: { transcodesMax: 1 } });
    set({ a: scripted(), b: scripted() });
    const a = camera('a');
    const ends = [a.watchRaw(), a.watchTranscoded(() => undefined)];
    const kept = () => [a.raw, a.transcoded].map(({ head, oldest }) => head - oldest);
    await expect.poll(() => Math.min(...kept()), TIMEOUT).toBeGreaterThan(0);
    const told: boolean[] = [];
    fleet.watchAll((id) => void told.push(id === 'a' && a.isMasked));
    const [{ epoch }, heads] = [a.report().stream!, [a.raw.head, a.transcoded.head]];
    set({ a: { masks: ['0,0 1,0 1,1'] } });
    expect([told, kept(), a.report().masked]).toEqual([[true], [0, 0], true]);
    await expect.poll(() => Math.min(...kept()), TIMEOUT).toBeGreaterThan(0);
    for (const [i, stream] of [a.raw, a.transcoded].entries()) {
      for (let at = heads[i]!; at < stream.head; at++) {
        expect(stream.at(at)!.data.frame.epoch).toBeGreaterThan(epoch);
      }
    }
    for (const end of ends) end();
    expect([a.report().connections, camera('b').report().connections]).toEqual([2, 1]);
  });

  test('no more pictures are looked at than its settings allow', async () => {
    const { set, camera } = fleetWorld();
    set({ slow: { url: scripted(), maxFps: 1 }, free: scripted() });
    const pictures = (id: string) => camera(id).accounts().pictures;
    await expect.poll(() => pictures('free'), TIMEOUT).toBeGreaterThan(20);
    const before = pictures('slow');
    expect(before).toBeGreaterThan(0);
    expect(before * 2).toBeLessThan(pictures('free'));
    // A change is no new connection.
    set({ slow: { maxFps: 30 } });
    await expect.poll(() => pictures('slow'), TIMEOUT).toBeGreaterThan(before + 10);
    expect(camera('slow').report().connections).toBe(1);
  });

  test('results count by class, with their stages, from capture and from arrival; the late ones are told', async () => {
    const { set, camera, fleet, observed } = fleetWorld({ lateMs: 0 });
    set({ a: scripted() });
    await expect.poll(() => observed.length, TIMEOUT).toBeGreaterThan(5);
    set({ a: { priority: 2 } });
    await expect.poll(() => observed.at(-1)!.priority, TIMEOUT).toBe(2);
    expectBalanced(camera('a'));
    for (const { client_id, pipeline, stages, ownStages } of observed) {
      expect([client_id, pipeline]).toEqual(['camera:a', 'objects']);
      // Captured 5 ms before it came, and decoded in one.
      expect(stages.total - ownStages.total).toBeCloseTo(5, 1);
      expect(stages.decode).toBeCloseTo(1, 1);
      // It says that of pictures that came sooner than that, too.
      expect(ownStages.decode).toBeLessThanOrEqual(stages.decode);
      const { total, ...parts } = ownStages;
      // The engine's timer may be early by a part of a millisecond.
      expect(Object.values(parts).reduce((sum, ms) => sum + ms)).toBeLessThan(total + 1);
    }
    const frames = fleet.frames();
    expect(frames.map(({ class: name }) => name)).toEqual(['low', 'high']);
    for (const { results, late } of frames) expect(late).toBe(results);
    expect(frames.reduce((sum, { results }) => sum + results, 0)).toBe(observed.length);
    const [tally] = fleet.tallies();
    expect(tally).toMatchObject({ client_id: 'camera:a', class: 'high' });
    expect(tally!.bad).toBe(tally!.frames);
  });

  describe('with a device that decodes', () => {
    const VAAPI: Hardware = { type: 'vaapi', codecs: ['h264'], reason: null };
    const one = { hardware: { wish: 'auto', decodersMax: 1 } } as const;

    test('as many as may be are decoded by it; who leaves makes room, and each says what decodes it', async () => {
      const { set, camera, fleet, limit, log } = fleetWorld({ settings: one, findHardware: async () => VAAPI });
      const by = (id: string) => camera(id).report().decoding;
      set({ a: scripted(), b: scripted() });
      const decoders = () => Object.fromEntries(fleet.accounts().decoders);
      await expect.poll(decoders, TIMEOUT).toEqual({ vaapi: 1, software: 1 });
      const [taken, other] = by('a')!.by === 'vaapi' ? ['a', 'b'] : ['b', 'a'];
      expect(by(other!)).toEqual({ by: 'software', reason: 'vaapi decodes 1 cameras already' });
      set({ [taken!]: { isEnabled: false } });
      await expect.poll(() => by(other!), TIMEOUT).toEqual({ by: 'vaapi', reason: null });
      expect(by(taken!)).toBeNull();
      expect(log.map(({ event }) => event)).toContain('hardware_decoding');
      // A change of the setting is no new connection.
      limit({ hardware: { wish: 'off', decodersMax: 1 } });
      await expect.poll(() => by(other!), TIMEOUT).toEqual({ by: 'software', reason: null });
      expect(camera(other!).report().connections).toBe(1);
    });

    test('one that fails with it is decoded by the software, which is told and counted', async () => {
      const { set, camera, fleet, log } = fleetWorld({ settings: one, findHardware: async () => VAAPI });
      set({ a: scripted({ does: 'lose device', afterMs: 50 }) });
      await expect.poll(() => fleet.accounts().decoderFaults, TIMEOUT).toBe(1);
      expect(camera('a').report()).toMatchObject({
        state: 'live',
        connections: 1,
        decoding: { by: 'software', reason: 'the device is gone' },
      });
      expect(log.find(({ event }) => event === 'camera_decoder_lost')?.fields).toMatchObject({ camera: 'a' });
      // Its place is free.
      set({ b: scripted() });
      await expect.poll(() => camera('b').report().decoding?.by, TIMEOUT).toBe('vaapi');
      expect(camera('a').report().decoding?.by).toBe('software');
    });

    test('one that is named and not there is told with its reason', async () => {
      const reason = 'cuda: Cannot load libcuda.so.1';
      const { set, camera, log } = fleetWorld({
        settings: { hardware: { wish: 'cuda', decodersMax: 8 } },
        findHardware: async () => ({ type: null, codecs: [], reason }),
      });
      set({ a: scripted() });
      await expect.poll(() => camera('a').report().decoding, TIMEOUT).toEqual({ by: 'software', reason });
      expect(log.find(({ event }) => event === 'hardware_unavailable')?.fields).toEqual({ wanted: 'cuda', reason });
    });
  });

  test('no credentials of a camera stand anywhere', async () => {
    const { set, fleet, log, state } = fleetWorld();
    set({ a: scripted({ code: 'CAMERA_STALLED' }), b: scripted({ code: 'CAMERA_LIMIT_REACHED' }) });
    await expect.poll(() => state('b'), TIMEOUT).toBe('failed');
    await expect.poll(() => log.some(({ event }) => event === 'camera_lost'), TIMEOUT).toBe(true);
    const all = JSON.stringify([fleet.report(), log]);
    expect(all).toContain('camera.example');
    expect(all).not.toMatch(/open-sesame|viewer:/);
  });

  test('a change touches the camera that it names', async () => {
    const { set, camera, state, limit } = fleetWorld();
    set({ a: scripted(), b: scripted(), c: scripted() });
    const watches = ['a', 'b', 'c'].map((id) => camera(id).watchRaw());
    const fragments = new Map(['a', 'b', 'c'].map((id) => [id, fragmentsOf(camera(id))]));
    await expect
      .poll(() => Math.min(...[...fragments.values()].map(({ length }) => length)), TIMEOUT)
      .toBeGreaterThan(5);
    const connections = () => ['a', 'b', 'c'].map((id) => camera(id).report().connections);
    expect(connections()).toEqual([1, 1, 1]);

    set({ a: { priority: 2, model: 'boxed' }, b: scripted({ width: 48 }) });
    const epochsOf = (id: string) => new Set(fragments.get(id)!.map(({ frame }) => frame.epoch)).size;
    await expect.poll(() => epochsOf('b'), TIMEOUT).toBe(2);
    expect(camera('b').report().stream?.width).toBe(48);
    expect(connections()).toEqual([1, 2, 1]);
    expect(camera('a').report().class).toBe('high');

    set({ b: { isEnabled: false } });
    expect(state('b')).toBe('off');
    limit({ openTimeoutMs: 1_234 });
    set({ b: { isEnabled: true }, d: scripted() });
    await expect.poll(() => state('d'), TIMEOUT).toBe('live');
    await expect.poll(() => state('b'), TIMEOUT).toBe('live');
    const gone = camera('d');
    set({ d: null });
    expect(gone.raw.closed).toBe(true);
    expect(() => camera('d')).toThrow('there is no camera "d"');
    const length = fragments.get('c')!.length;
    await expect.poll(() => fragments.get('c')!.length, TIMEOUT).toBeGreaterThan(length + 10);
    await expect.poll(() => epochsOf('b'), TIMEOUT).toBe(3);
    expect(connections()).toEqual([1, 3, 1]);
    for (const id of ['a', 'b', 'c']) expectGapless(fragments.get(id)!);
    expect([epochsOf('a'), epochsOf('c')]).toEqual([1, 1]);
    for (const end of watches) end();
    for (const id of ['a', 'b', 'c']) expectBalanced(camera(id));
  });

  test('says who was added, changed and removed', async () => {
    const { set, fleet } = fleetWorld();
    const told: string[] = [];
    const end = fleet.watchAll((id) => void told.push(id));
    set({ b: scripted(), a: scripted() });
    set({ b: { priority: 3 } });
    set({ a: null });
    end();
    set({ b: null });
    expect(told).toEqual(['a', 'b', 'b', 'a']);
    expect(fleet.all()).toEqual([]);
  });

  test('has places: who has one keeps it, the others wait with a clear reason', async () => {
    const { set, limit, state, camera, fleet } = fleetWorld({ settings: { streamsMax: 2 } });
    set({ b: scripted(), c: scripted() });
    await expect.poll(() => [state('b'), state('c')], TIMEOUT).toEqual(['live', 'live']);
    set({ a: scripted(), d: scripted() });
    expect(fleet.report().map(({ id, reason }) => [id, reason?.code])).toEqual([
      ['a', 'CAMERA_LIMIT_REACHED'],
      ['b', undefined],
      ['c', undefined],
      ['d', 'CAMERA_LIMIT_REACHED'],
    ]);
    await expect(camera('a').still(64)).rejects.toMatchObject({ code: 'CAMERA_LIMIT_REACHED' });
    set({ b: null });
    await expect.poll(() => state('a'), TIMEOUT).toBe('live');
    expect([camera('c').report().connections, state('d')]).toEqual([1, 'failed']);
    limit({ streamsMax: 1 });
    expect([state('a'), state('c')]).toEqual(['live', 'failed']);
    limit({ streamsMax: 9 });
    await expect.poll(() => [state('c'), state('d')], TIMEOUT).toEqual(['live', 'live']);
    expect(camera('a').report().connections).toBe(1);
  });

  test('tells the state of each, with its time and the reason', async () => {
    const { set, state, camera, fleet } = fleetWorld({ settings: { stallTimeoutMs: 1_000 } });
    const changes: string[] = [];
    set({
      stalls: scripted({ does: 'stall' }),
      ends: scripted({ does: 'end' }),
      never: scripted({ code: 'CAMERA_LIMIT_REACHED' }),
    });
    set({
      breaks: scripted({ does: 'break' }),
      black: scripted({ does: 'black' }),
      silent: scripted({ does: 'silent' }),
    });
    camera('stalls').watchState(() => void changes.push(state('stalls')));
    const broken: CameraDocument[] = [];
    camera('breaks').watchState(() => void broken.push(camera('breaks').report()));
    await expect.poll(() => state('stalls'), TIMEOUT).toBe('stalled');
    expect(changes).toEqual(['live', 'stalled']);
    expect(camera('stalls').report().reason).toMatchObject({ code: 'CAMERA_STALLED' });
    await expect.poll(() => state('ends'), TIMEOUT).toBe('ended');
    expect(state('never')).toBe('failed');
    expect(state('silent')).toBe('connecting');
    await expect.poll(() => camera('black').report().picture.condition, TIMEOUT).toBe('black');
    // At once after the first failure, later after the next one.
    const pauses = () =>
      broken.filter(({ state: one }) => one === 'backing_off').map(({ until, since }) => until! - since);
    await expect.poll(() => pauses().length, TIMEOUT).toBeGreaterThanOrEqual(2);
    expect(pauses()[0]).toBe(0);
    expect(pauses()[1]).toBeGreaterThanOrEqual(499);
    expect(broken.map(({ state: one }) => one).slice(0, 4)).toEqual(['live', 'backing_off', 'connecting', 'live']);
    expect(broken[1]!.reason).toEqual({ code: 'CAMERA_STALLED', message: 'it broke off' });
    await expect.poll(() => camera('breaks').report().connections, TIMEOUT).toBeGreaterThanOrEqual(3);
    const { states, retries } = fleet.accounts();
    expect(states).toMatchObject({ stalled: 1, ended: 1, failed: 1 });
    expect(retries.get('CAMERA_STALLED')).toBeGreaterThanOrEqual(2);
    // What has refused them may let them in now.
    set({ never: scripted() });
    await expect.poll(() => state('never'), TIMEOUT).toBe('live');
  });

  test('what is wrong with a picture stays said over a lost connection, and not of another address', async () => {
    const { set, camera, log } = fleetWorld();
    set({ a: scripted({ does: 'blackout', afterMs: 100 }) });
    const seen: CameraDocument[] = [];
    camera('a').watchState(() => void seen.push(camera('a').report()));
    await expect.poll(() => camera('a').report().connections, TIMEOUT).toBeGreaterThanOrEqual(3);
    const since = seen.findIndex(({ picture }) => picture.condition === 'black');
    const states = seen.slice(since).map(({ state, picture }) => `${state} ${picture.condition}`);
    expect(states).toContain('backing_off black');
    expect(new Set(seen.slice(since).map(({ picture }) => picture.since)).size).toBe(1);
    expect(log.filter(({ event }) => event === 'camera_condition')).toHaveLength(1);
    set({ a: scripted() });
    expect(camera('a').report().picture.condition).toBe('unknown');
  });

  test('the last frame of a file comes before its end', async () => {
    const { set, camera, state, fleet } = fleetWorld();
    set({ a: scripted({ does: 'end early' }) });
    camera('a').watchRaw();
    const fragments = fragmentsOf(camera('a'));
    const ended: number[] = [];
    camera('a').watchState(() => void (state('a') === 'ended' && ended.push(fragments.length)));
    await expect.poll(() => ended, TIMEOUT).toEqual([SCRIPTED_GOP]);
    expect(fragments.at(-1)!.frame.seq).toBe(SCRIPTED_GOP - 1);
    expect(fleet.accounts().processes.strays).toBe(0);
    expectBalanced(camera('a'));
  });

  test('raw channel: from a key frame on, while somebody watches', async () => {
    const { set, camera, memory } = fleetWorld({ settings: { rawBytesMax: 60_000 } });
    set({ a: scripted({ fps: 100, fragmentBytes: 2_000 }) });
    const fragments = fragmentsOf(camera('a'));
    await expect.poll(() => camera('a').accounts().totals.received, TIMEOUT).toBeGreaterThan(20);
    expect(fragments).toEqual([]);
    const ends = [camera('a').watchRaw(), camera('a').watchRaw()];
    expect(camera('a').report().viewers).toBe(2);
    await expect.poll(() => fragments.length, TIMEOUT).toBeGreaterThan(80);
    expectGapless(fragments);
    for (const { frame, bytes, init } of fragments) {
      const view = Buffer.from(bytes);
      expect([view.readDoubleLE(0), view.readUInt32LE(8)]).toEqual([frame.epoch, frame.seq]);
      expect(init).toMatchObject({ epoch: frame.epoch, codecString: 'avc1.64001f' });
      // Nothing larger stays in memory because of it.
      expect(bytes.buffer.byteLength).toBeLessThanOrEqual(2 * bytes.length);
    }
    const { raw } = camera('a');
    const kept = [...raw.history(raw.oldest)];
    expect(kept.length * 2_000).toBeLessThanOrEqual(60_000);
    expect(kept.length).toBeGreaterThan(10);
    expect(kept[0]!.data.isKey).toBe(true);
    expect(memory.bytes('frames')).toBeGreaterThan(20_000);
    ends[0]!();
    ends[0]!();
    expect(camera('a').report().viewers).toBe(1);
    ends[1]!();
    expect(raw.oldest).toBe(raw.head);
    await expect.poll(() => camera('a').accounts().raw.bytes, TIMEOUT).toBe(0);
  });

  test('encoded anew: beside the own form, for as many cameras at once as may be, and again after a reconnection', async () => {
    const { fleet, set, camera } = fleetWorld({ settings: { transcodesMax: 1 } });
    set({ a: scripted({ fps: 100, does: 'break', afterMs: 1_000 }), b: scripted({ fps: 100 }) });
    const end = camera('a').watchTranscoded(() => {});
    const again = camera('a').watchTranscoded(() => {});
    expect(() => camera('b').watchTranscoded(() => {})).toThrow('for 1 cameras at once');
    const heads = () => [camera('a').transcoded.head, camera('a').raw.head, camera('b').transcoded.head];
    await expect.poll(() => heads()[0], TIMEOUT).toBeGreaterThan(20);
    expect(heads().slice(1)).toEqual([0, 0]);
    const kept = () => [...camera('a').transcoded.history(camera('a').transcoded.oldest)].map(({ data }) => data);
    expect(kept().every(({ init }) => init.isTranscoded)).toBe(true);
    expect(camera('a').report()).toMatchObject({ transcoding: true, viewers: 0 });
    expect(fleet.accounts().encoding.transcoded).toBe(1);
    await expect.poll(() => new Set(kept().map(({ frame }) => frame.epoch)).size, TIMEOUT).toBeGreaterThan(1);
    end();
    expect(() => camera('b').watchTranscoded(() => {})).toThrow('cannot be encoded anew');
    again();
    const other = camera('b').watchTranscoded(() => {});
    await expect.poll(() => heads()[2], TIMEOUT).toBeGreaterThan(5);
    other();
    expect(camera('b').report().frames.transcoded).toBeGreaterThan(5);
    expect(fleet.accounts().encoding.transcoded).toBe(0);
  });

  test('with results drawn on it: they go to the reader while somebody watches, for as many cameras at once as may be', async () => {
    const { fleet, set, camera } = fleetWorld({ settings: { annotatedMax: 1 } });
    set({ a: scripted({ fps: 50 }), b: scripted() });
    const a = camera('a');
    const end = a.watchAnnotated(() => {});
    expect(() => camera('b').watchAnnotated(() => {})).toThrow('drawn on: the server does that for 1 cameras at once');
    const kept = () => [...a.annotated.history(a.annotated.oldest)].map(({ data }) => data);
    await expect.poll(() => kept().some(({ boxes }) => boxes === 'predicted'), TIMEOUT).toBe(true);
    expect(kept()[0]).toMatchObject({ boxes: 'none', init: { isTranscoded: true }, isKey: true });
    expect([a.raw.head, a.transcoded.head, a.report().annotating]).toEqual([0, 0, true]);
    expect(fleet.accounts().encoding).toEqual({ transcoded: 0, annotated: 1 });
    end();
    expect([...a.results.readers].filter(({ name }) => name === 'annotations')).toEqual([]);
    camera('b').watchAnnotated(() => {})();
    expect(a.report().frames.annotated).toBeGreaterThan(0);
  });

  test('who watches a camera is told where encoding it anew fails; that is logged and counted', async () => {
    const { fleet, set, camera, log } = fleetWorld({ settings: { transcodesMax: 1 } });
    set({ a: scripted({ does: 'no transcode' }) });
    const told: string[] = [];
    const end = camera('a').watchTranscoded(({ code, message }) => void told.push(`${code}: ${message}`));
    await expect
      .poll(() => told, TIMEOUT)
      .toEqual(['TRANSCODE_FAILED: camera a cannot be encoded anew: the encoder fails']);
    end();
    expect(log.filter(({ event }) => event === 'camera_transcode_failed')).toHaveLength(1);
    expect(fleet.accounts()).toMatchObject({ encodingFailures: { transcoded: 1 }, encoding: { transcoded: 0 } });
    // It is tried again for whoever comes next.
    camera('a').watchTranscoded(({ code }) => void told.push(code));
    await expect.poll(() => told.length, TIMEOUT).toBe(2);
  });

  test('stills: one request for all who ask, its answer for a second, errors by the state', async () => {
    const { set, camera, state } = fleetWorld();
    set({
      a: scripted(),
      none: scripted({ does: 'no stills' }),
      off: { isEnabled: false, url: scripted() },
      silent: scripted({ does: 'silent' }),
    });
    await expect.poll(() => [state('a'), state('none')], TIMEOUT).toEqual(['live', 'live']);
    const [one, other] = await Promise.all([camera('a').still(320), camera('a').still(327)]);
    expect(other).toBe(one);
    expect(one).toMatchObject({ width: 320, clock: 'camera', frame: { camera: 'a' } });
    expect(await camera('a').still(320)).toBe(one);
    expect((await camera('a').still(640)).width).toBe(640);
    expect([one!.boxes, (await camera('a').still(320, true)).boxes]).toEqual(['none', 'own']);
    expect(await camera('a').still(320)).toBe(one);
    await expect(camera('none').still(320)).rejects.toMatchObject({ code: 'CAMERA_NO_PICTURE' });
    await expect(camera('off').still(320)).rejects.toMatchObject({ code: 'CAMERA_OFF' });
    await expect(camera('silent').still(320)).rejects.toMatchObject({ code: 'CAMERA_NO_PICTURE' });
  });

  test('tries an address, beside the cameras, and says what it found', async () => {
    const { fleet, set, camera } = fleetWorld();
    set({ a: scripted() });
    const good = await fleet.test({ ...CAMERA, url: scripted({ fps: 50, width: 64 }) });
    expect(good).toMatchObject({ reason: null, stream: { width: 64, codec: 'h264' }, still: { width: 640 } });
    expect(good.rates!.fps).toBeGreaterThan(10);
    const bad = await fleet.test({ ...CAMERA, url: scripted({ code: 'CAMERA_STALLED' }) });
    expect(bad).toMatchObject({ stream: null, still: null, reason: { code: 'CAMERA_STALLED' } });
    expect(bad.reason!.message).not.toContain('sesame');
    const crash = await fleet.test({ ...CAMERA, url: scripted({ does: 'crash', afterMs: 0 }) });
    expect(crash.stream ?? crash.reason).not.toBeNull();
    const silent = { ...CAMERA, url: scripted({ does: 'silent' }) };
    const waiting = [1, 2, 3, 4].map(() => fleet.test(silent));
    await expect(fleet.test(silent)).rejects.toMatchObject({ code: 'CAMERA_TESTS_BUSY' });
    expect(camera('a').report().connections).toBe(1);
    void Promise.allSettled(waiting);
  });
});

describe('faults', { timeout: 120_000 }, () => {
  test('a process that is killed: its cameras are back within 3 s, all others lose nothing', async () => {
    const { set, camera, states, fleet, log } = fleetWorld({ settings: { processes: 2 } });
    const ids = Array.from({ length: 10 }, (_, i) => `c${i}`);
    set(Object.fromEntries(ids.map((id) => [id, scripted()])));
    await expect.poll(states, TIMEOUT).toEqual(ids.map(() => 'live'));
    const pids = () => ids.map((id) => camera(id).report().process!);
    const before = pids();
    expect(new Set(before).size).toBe(2);
    for (const id of ids) camera(id).watchRaw();
    const fragments = ids.map((id) => fragmentsOf(camera(id)));
    await expect.poll(() => Math.min(...fragments.map(({ length }) => length)), TIMEOUT).toBeGreaterThan(5);
    const [victim] = before;
    process.kill(victim!, 'SIGKILL');
    const killedMs = performance.now();
    await expect.poll(() => pids().includes(victim!), { ...TIMEOUT, interval: 20 }).toBe(false);
    await expect.poll(states, { ...TIMEOUT, interval: 20 }).toEqual(ids.map(() => 'live'));
    const tookMs = performance.now() - killedMs;
    process.stdout.write(`live again after ${Math.round(tookMs)} ms\n`);
    await expect.poll(() => Math.min(...fragments.map(({ length }) => length)), TIMEOUT).toBeGreaterThan(40);
    for (const [i, id] of ids.entries()) {
      const wasKilled = before[i] === victim;
      expect(camera(id).report().connections).toBe(wasKilled ? 2 : 1);
      expectGapless(fragments[i]!);
      expect(new Set(fragments[i]!.map(({ frame }) => frame.epoch)).size).toBe(wasKilled ? 2 : 1);
      expectBalanced(camera(id));
    }
    const { processes, starts, exits } = fleet.accounts().processes;
    expect({ processes, starts }).toMatchObject({ processes: { pool: 2, own: 0 }, starts: 3 });
    // On a machine that is so busy that it gives no sign of life for long it counts as hung.
    expect(Object.values(exits).reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(log.filter(({ event }) => event === 'reader_process_lost')).toHaveLength(1);
    // The figures say the same, also of cameras that are gone.
    const figures = new FigureRegistry({}, [camerasPart(fleet), framesPart(() => fleet.frames())]);
    const figure = (name: string, labels: Readonly<Record<string, string>> = {}) =>
      sumsOf(figures.read(), labels).get(name);
    expect(figure('sightline_camera_process_ends_total', { cause: 'signal' })).toBe(1);
    expect(figure('sightline_cameras', { state: 'live' })).toBe(10);
    expect(figure('sightline_camera_live')).toBe(10);
    const connections = figure('sightline_camera_connections_total')!;
    expectFiguresBalanced(figures.read());
    const results = figure('sightline_frames_results_total')!;
    expect(results).toBeGreaterThan(10);
    set(Object.fromEntries(ids.map((id) => [id, null])));
    expect(figure('sightline_cameras')).toBe(0);
    expect(figure('sightline_camera_connections_total')).toBe(connections);
    expect(figure('sightline_frames_results_total')).toBeGreaterThanOrEqual(results);
    expect(figure('sightline_frames_queued')! + figure('sightline_frames_in_flight')!).toBe(0);
    expectFiguresBalanced(figures.read());
  });

  test('a camera that brings down its process twice gets one of its own; what it does then is its own affair', async () => {
    const { set, camera, state, fleet, log } = fleetWorld({ settings: { processes: 1 } });
    set({ good: scripted(), bad: scripted({ does: 'crash', afterMs: 50 }) });
    await expect.poll(() => camera('bad').report().state, TIMEOUT).toBe('live');
    const pidOf = (id: string) => camera(id).report().process;
    // One of both: while there is one process for all, there may be one more.
    await expect.poll(() => fleet.accounts().processes.processes.own, TIMEOUT).toBe(1);
    await expect.poll(() => pidOf('good') !== pidOf('bad'), TIMEOUT).toBe(true);
    await expect.poll(() => state('good'), TIMEOUT).toBe('live');
    expect(fleet.accounts().processes.isolations.given).toBe(1);
    expect(log.some(({ event }) => event === 'camera_isolated')).toBe(true);
    set({ bad: null });
    await expect.poll(() => state('good'), TIMEOUT).toBe('live');
    expectBalanced(camera('good'));
  });

  test.runIf(isLongRun)('a process that hangs, and one whose data are damaged, are replaced', async () => {
    const once = await onceFile();
    const { set, camera, states, fleet } = fleetWorld();
    set({ hangs: scripted({ does: 'hang', once }) });
    await expect.poll(() => existsSync(once), TIMEOUT).toBe(true);
    await expect.poll(() => fleet.accounts().processes.exits.hung, TIMEOUT).toBe(1);
    set({ garbles: scripted({ does: 'garble', once: `${once}-not` }) });
    await expect.poll(() => camera('garbles').report().connections, TIMEOUT).toBeGreaterThan(1);
    set({ garbles: null });
    await expect.poll(states, TIMEOUT).toEqual(['live']);
    expectBalanced(camera('hangs'));
  });

  test('a hundred cameras that all begin anew at once are live again, and the accounts hold all the time', async () => {
    const { set, camera, states, fleet } = fleetWorld({ engine: new NamingEngine(2, 10) });
    const ids = Array.from({ length: 100 }, (_, i) => `c${String(i).padStart(3, '0')}`);
    const setAll = (width: number) =>
      set(Object.fromEntries(ids.map((id) => [id, scripted({ openMs: 30, fps: 12.5, width })])));
    const live = () => {
      for (const id of ids) expectBalanced(camera(id));
      return states().filter((state) => state === 'live').length;
    };
    setAll(32);
    await expect.poll(live, TIMEOUT).toBe(100);
    expect(fleet.accounts().processes.processes.pool).toBe(10);
    const loads = new Map<number | null, number>();
    for (const { process: pid } of fleet.report()) loads.set(pid, (loads.get(pid) ?? 0) + 1);
    expect([...loads.values()]).toEqual(Array.from({ length: 10 }, () => 10));

    // By another address of each, then by the end of all processes.
    const begunMs = performance.now();
    setAll(48);
    expect(live()).toBe(0);
    await expect.poll(live, { ...TIMEOUT, interval: 50 }).toBe(100);
    const againMs = performance.now();
    for (const pid of loads.keys()) process.kill(pid!, 'SIGKILL');
    // Whatever each of them is said to have died of: a very busy machine keeps one waiting, so that it counts as hung.
    const inOldOnes = () => fleet.report().filter(({ process: pid }) => pid === null || loads.has(pid)).length;
    await expect.poll(inOldOnes, { ...TIMEOUT, interval: 50 }).toBe(0);
    await expect.poll(live, { ...TIMEOUT, interval: 50 }).toBe(100);
    const [one, other] = [againMs - begunMs, performance.now() - againMs].map(Math.round);
    process.stdout.write(`a hundred are live again after ${one} ms, and ${other} ms\n`);
    expect(fleet.accounts().connections).toBeGreaterThanOrEqual(300);
    const results = () => ids.map((id) => camera(id).accounts().frames[0]!.results);
    await expect.poll(() => Math.min(...results()), TIMEOUT).toBeGreaterThan(0);
  });

  test.runIf(isLongRun)('a busy engine: every camera has its results, none is left out', async () => {
    const { set, camera, states } = fleetWorld({ engine: new NamingEngine(1, 40) });
    const ids = Array.from({ length: 40 }, (_, i) => `c${i}`);
    set(Object.fromEntries(ids.map((id) => [id, scripted({ fps: 12.5 })])));
    await expect.poll(() => states().filter((state) => state === 'live').length, TIMEOUT).toBe(40);
    const seen = ids.map((id) => resultsOf(camera(id)));
    const results = () => seen.map((all) => all.filter(({ data }) => data.outcome.kind === 'result'));
    await expect.poll(() => Math.min(...results().map(({ length }) => length)), TIMEOUT).toBeGreaterThan(2);
    let worstMs = 0;
    for (const all of results()) {
      for (let i = 1; i < all.length; i++)
        worstMs = Math.max(worstMs, all[i]!.publishedTimeMs - all[i - 1]!.publishedTimeMs);
    }
    const late = results().flatMap((all) =>
      all.map(
        ({ publishedTimeMs, data }) =>
          publishedTimeMs - (data.outcome.kind === 'result' ? data.outcome.receivedTimeMs : 0),
      ),
    );
    const p95 = late.toSorted((a, b) => a - b)[Math.floor(late.length * 0.95)]!;
    process.stdout.write(`worst pause ${Math.round(worstMs)} ms, results p95 ${Math.round(p95)} ms\n`);
    for (const id of ids) expectBalanced(camera(id));
  });

  test('settings that change all the time, whatever else happens: what is untouched goes on', async () => {
    const { set, camera, state, fleet } = fleetWorld({ settings: { processes: 2 } });
    set({ still: scripted() });
    await expect.poll(() => state('still'), TIMEOUT).toBe('live');
    camera('still').watchRaw();
    const fragments = fragmentsOf(camera('still'));
    for (let i = 0; i < 200; i++) {
      const id = `x${i % 7}`;
      set({
        [id]:
          i % 5 === 4
            ? null
            : { ...CAMERA, url: scripted({ does: i % 3 === 0 ? 'break' : 'end', afterMs: i % 40 }), priority: 1 },
      });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const length = fragments.length;
    await expect.poll(() => fragments.length, TIMEOUT).toBeGreaterThan(length + 5);
    expectGapless(fragments);
    expect(new Set(fragments.map(({ frame }) => frame.epoch)).size).toBe(1);
    for (const one of fleet.all()) expectBalanced(one as Camera);
  });
});
