import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, openPage } from '../support/browser.ts';
import { CamerasBench } from '../support/cameras-bench.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { numberedVideo, type NumberedVideo } from '../support/numbered-video.ts';
import { playerPage } from '../support/player-page.ts';
import type { ScriptedCamera } from '../support/scripted-feeds.ts';

/** The player of the SDK in a real browser, on the lane and real H.264, whose pictures carry their numbers. */

const RATE_FPS = 25;
const FRAMES = 300;
/** Beyond its place the player is never for long: then it jumps. */
const BEHIND_MS_MAX = 1_000;

/** Of the player's. */
interface Metrics {
  readonly state: string;
  readonly distanceMs: number;
  readonly targetMs: number;
  readonly unnamed: number;
  readonly jumps: number;
  readonly waits: number;
  readonly failures: number;
  readonly latencyMs: { readonly count: number };
}

interface Shown {
  readonly number: number | undefined;
  readonly epoch: number;
  readonly seq: number;
  readonly latencyMs: number;
  readonly results: readonly number[];
}

describe.skipIf(CHROMIUM === undefined)('the player', () => {
  let video: NumberedVideo;
  let files: Map<string, string>;
  let browser: Browser;
  let bench: CamerasBench;
  let north: ScriptedCamera;
  let page: Page;
  let faults: string[];

  beforeAll(async () => {
    [video, files, browser] = await Promise.all([
      numberedVideo({ frames: FRAMES, keyEvery: RATE_FPS }),
      playerPage(),
      launchBrowser(),
    ]);
  });
  beforeEach(async () => {
    bench = await CamerasBench.open(video, files);
    north = bench.cameras.add('north');
  });
  afterEach(async () => {
    await page.close();
    bench.close();
  });
  afterAll(() => browser?.close());

  async function open(): Promise<void> {
    ({ page, faults } = await openPage(browser, bench.url));
  }

  const ask = <T>(expression: string) => page.evaluate(`(${expression})`) as Promise<T>;
  const metrics = () => ask<Metrics>('window.page.player.metrics()');
  const frames = () => ask<Shown[]>('window.page.frames');
  const shown = () => ask<number>('window.page.frames.length');

  /** Frames whose name is not that of the number in their picture. */
  async function mismatches(): Promise<Shown[]> {
    return (await frames()).filter(({ number, seq }) => number !== video.frames[seq % FRAMES]!.order);
  }

  async function expectMoreFrames(count: number): Promise<void> {
    const before = await shown();
    await eventually(shown).toBeGreaterThanOrEqual(before + count);
  }

  /** So close to the newest frame again that it goes on by its rate alone. */
  async function expectLive(): Promise<void> {
    const isLive = async () => {
      const { distanceMs, targetMs, state } = await metrics();
      return state === 'playing' && distanceMs < targetMs + BEHIND_MS_MAX;
    };
    await eventually(isLive).toBe(true);
  }

  test('names each frame that it shows, through gaps, reconnections of the camera and of its own, and another rate', async () => {
    let stop = bench.run(north, RATE_FPS);
    await open();
    await expectMoreFrames(100);
    north.lose(7);
    await expectMoreFrames(30);
    north.reconnect();
    await expectMoreFrames(50);
    bench.cut();
    await expectMoreFrames(50);
    stop();
    stop = bench.run(north, 12.5);
    await expectMoreFrames(50);
    stop();
    stop = bench.run(north, 40);
    await expectMoreFrames(70);
    stop();
    const all = await frames();
    expect(all.length).toBeGreaterThanOrEqual(350);
    expect(await mismatches()).toEqual([]);
    expect(new Set(all.map(({ epoch }) => epoch)).size).toBe(2);
    for (const { latencyMs } of all) expect(latencyMs).toBeGreaterThan(0);
    const { unnamed, failures, latencyMs } = await metrics();
    expect(unnamed).toBe(0);
    expect(failures).toBe(0);
    expect(latencyMs.count).toBeGreaterThanOrEqual(all.length);
    const causes = await ask<string[]>('window.page.gaps.map(({ cause }) => cause)');
    expect(causes).toContain('source');
    expect(faults).toEqual([]);
  });

  test('begins close to live, however much is kept, and comes back to it after a pause, a stall of the page and one of the camera', async () => {
    north.play(RATE_FPS - 1);
    let stop = bench.run(north, RATE_FPS);
    await open();
    await expectMoreFrames(20);
    await expectLive();
    // Longer than the player would catch up with by its rate.
    await page.evaluate('window.page.video.pause()');
    const { seq } = north.next;
    await eventually(async () => north.next.seq).toBeGreaterThan(seq + 3 * RATE_FPS);
    await page.evaluate('window.page.video.play()');
    await expectMoreFrames(10);
    await expectLive();
    await page.evaluate('{ const end = performance.now() + 2500; while (performance.now() < end); }');
    await expectMoreFrames(10);
    await expectLive();
    stop();
    await eventually(async () => (await metrics()).state).toBe('waiting');
    stop = bench.run(north, RATE_FPS);
    await expectMoreFrames(10);
    await expectLive();
    stop();
    expect(await mismatches()).toEqual([]);
    const { jumps, waits, failures } = await metrics();
    expect(jumps).toBeGreaterThan(0);
    expect(waits).toBeGreaterThan(0);
    expect(failures).toBe(0);
    expect(faults).toEqual([]);
  });

  test('a tab that is frozen for a while goes on close to live', async () => {
    const stop = bench.run(north, RATE_FPS);
    await open();
    await expectMoreFrames(20);
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
    const { seq } = north.next;
    await eventually(async () => north.next.seq).toBeGreaterThan(seq + 4 * RATE_FPS);
    await cdp.send('Page.setWebLifecycleState', { state: 'active' });
    await expectMoreFrames(20);
    await expectLive();
    stop();
    expect(await mismatches()).toEqual([]);
    expect(faults).toEqual([]);
  });

  test('removes what was played, and holds no more than seconds', async () => {
    const stop = bench.run(north, 2 * RATE_FPS);
    await open();
    await eventually(() => ask<number>('window.page.video.currentTime')).toBeGreaterThan(9);
    const buffered = await ask<number>('window.page.video.buffered.end(0) - window.page.video.buffered.start(0)');
    expect(buffered).toBeLessThan(9);
    expect(await ask<number>('window.page.video.buffered.length')).toBe(1);
    stop();
  });

  test('has the results of the frame on the screen, those that come before it and those that come after it', async () => {
    const cause = 'superseded';
    const stop = bench.run(north, RATE_FPS, (seq) => {
      if (seq % 2 === 0) north.find(seq, { kind: 'dropped', cause });
    });
    await open();
    await expectMoreFrames(60);
    const all = await frames();
    for (const { seq, results } of all) if (results.length > 0) expect(results).toEqual([seq]);
    expect(all.some(({ results }) => results.length > 0)).toBe(true);
    expect(all.every(({ seq, results }) => seq % 2 === 0 || results.length === 0)).toBe(true);
    stop();
    const { seq } = (await frames()).at(-1)!;
    await eventually(async () => (await metrics()).state).toBe('waiting');
    const last = await ask<number>('window.page.player.frame.seq');
    expect(last).toBeGreaterThanOrEqual(seq);
    north.find(last, { kind: 'dropped', cause });
    await eventually(() => ask<unknown>('window.page.late.at(-1)')).toEqual([last, last]);
    expect(await ask<number>(`window.page.player.resultsOf(window.page.player.frame).length`)).toBeGreaterThan(0);
  });

  test('says so where the browser cannot play the codec', async () => {
    bench.close();
    bench = await CamerasBench.open({ ...video, track: { ...video.track, codecString: 'none.1' } }, files);
    north = bench.cameras.add('north');
    const stop = bench.run(north, RATE_FPS);
    await open();
    await eventually(() => ask<object[]>('window.page.states')).toEqual([
      { state: 'unsupported', codecString: 'none.1', reason: expect.stringContaining('none.1') },
    ]);
    // It takes nothing more, and the view goes on.
    const before = await ask<number>('window.page.view.metrics().fragments');
    await eventually(() => ask<number>('window.page.view.metrics().fragments')).toBeGreaterThan(before);
    expect((await metrics()).failures).toBe(0);
    stop();
    expect(faults).toEqual([]);
  });

  test('asks for a codec that it cannot play to be converted, names each frame of that too, and goes back to the own form when it can', async () => {
    const become = (codecString: string) => {
      north.codecString = codecString;
      north.reconnect();
      north.become('live');
    };
    become('none.1');
    let stop = bench.run(north, RATE_FPS);
    await open();
    await expectMoreFrames(20);
    const isConverted = () => ask<boolean>('window.page.view.init.isTranscoded');
    expect([await isConverted(), north.transcoding]).toEqual([true, 1]);
    bench.cut();
    await expectMoreFrames(10);
    expect(await isConverted()).toBe(true);
    become(video.track.codecString);
    await eventually(isConverted).toBe(false);
    await expectMoreFrames(10);
    become('none.2');
    await eventually(isConverted).toBe(true);
    await expectMoreFrames(10);
    expect(await mismatches()).toEqual([]);
    expect(await ask<object[]>('window.page.states.filter(({ state }) => state === "unsupported")')).toEqual([]);
    // There is no place any more when the camera has come back.
    stop();
    become(video.track.codecString);
    await eventually(async () => north.transcoding).toBe(0);
    north.mayTranscode = false;
    become('none.3');
    stop = bench.run(north, RATE_FPS);
    await eventually(() => ask<object>('window.page.states.at(-1)')).toEqual({
      state: 'unsupported',
      codecString: 'none.3',
      code: 'TRANSCODE_LIMIT_REACHED',
      reason: 'there is no place',
    });
    stop();
    const { unnamed, failures } = await metrics();
    expect([unnamed, failures]).toEqual([0, 0]);
    // It has not gone to and fro between both forms.
    expect(await ask<number>('window.page.view.id')).toBeLessThan(15);
    expect(faults).toEqual([]);
  });

  test('begins anew where the browser cannot decode, and leaves the element empty when it is closed', async () => {
    const stop = bench.run(north, RATE_FPS);
    await open();
    await expectMoreFrames(10);
    north.damage(3);
    await eventually(async () => (await metrics()).failures).toBeGreaterThan(0);
    await expectMoreFrames(20);
    await expectLive();
    expect(await mismatches()).toEqual([]);
    await page.evaluate('window.page.player.close()');
    expect(await ask<string>('window.page.player.state')).toBe('closed');
    expect(await ask<boolean>('window.page.video.hasAttribute("src")')).toBe(false);
    expect(await ask<boolean>('window.page.view.closed')).toBe(false);
    stop();
    expect(faults).toEqual([]);
  });
});
