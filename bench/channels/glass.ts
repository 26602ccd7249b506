import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { FILM } from '../fleet/film.ts';
import { glassDelays } from '../fleet/glass-delay.ts';
import { NumberedWorld } from '../fleet/numbered-world.ts';
import type { FleetBench } from '../fleet/world.ts';
import { atMost, type Bar } from '../support/document.ts';
import { median, percentile } from '../support/statistics.ts';
import { HlsTab, WhepTab, type ChannelTab, type ShownPicture } from './channel-tab.ts';

/** How old a picture is when it can be seen, by the number in the picture: one viewer of a camera's own frames in Chromium, by WHEP and by hls.js. */

const SPAN_MS = { full: 60_000, quick: 8_000 } as const;
/** The players have found their place by then. */
const SETTLE_MS = 8_000;
const POLL_MS = 500;
const CLIP_FRAMES = 252;
const P95_MS_MAX = { whep: 150, hls: 1_200 } as const;

interface Part {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
}

export async function measureGlass(bench: FleetBench, browser: Browser): Promise<Part> {
  const { quick, signal, say } = bench;
  const own: Record<string, number> = {};
  const bars: Bar[] = [];
  const { width, height, keyEvery, rateFps } = FILM;
  const set = { count: 1, width, height, keyEvery, rateFps, frames: CLIP_FRAMES, bFrames: 0, ageMs: 0 };
  await using numbered = await NumberedWorld.open(bench, set, () => 'none');
  const { world, sources, ids } = numbered;
  const { url } = world.server;
  const ways: Readonly<Record<keyof typeof P95_MS_MAX, () => Promise<ChannelTab>>> = {
    whep: () => WhepTab.open(browser, url, `/whep/${ids[0]}/raw`),
    hls: () => HlsTab.open(browser, url, `/hls/${ids[0]}/raw/index.m3u8`),
  };
  for (const way of ['whep', 'hls'] as const) {
    await using tab = await ways[way]();
    await sleep(SETTLE_MS, undefined, { signal });
    await tab.take();
    const seen: ShownPicture[] = [];
    const endMs = performance.now() + (quick ? SPAN_MS.quick : SPAN_MS.full);
    while (performance.now() < endMs) {
      await sleep(POLL_MS, undefined, { signal });
      seen.push(...(await tab.take()).pictures);
    }
    const told = seen.map(({ number, shownTimeMs, captureTimeMs }) => ({
      number,
      shownTimeMs,
      latencyMs: shownTimeMs - captureTimeMs,
    }));
    const { delaysMs, strangers } = glassDelays(await sources.call('pictures', 0), told);
    if (delaysMs.length === 0) throw new Error('the page has shown no picture');
    const figures = {
      frames: delaysMs.length,
      strangers,
      p50_ms: median(delaysMs),
      p95_ms: percentile(delaysMs, 95),
      max_ms: Math.max(...delaysMs),
    };
    for (const [name, value] of Object.entries(figures)) own[`glass_${way}_${name}`] = value;
    say(`${way}: ${figures.p50_ms.toFixed(0)} ms, p95 ${figures.p95_ms.toFixed(0)} ms, ${figures.frames} frames`);
    bars.push(atMost(`glass_${way}_p95_ms`, figures.p95_ms, P95_MS_MAX[way]));
  }
  return { own, bars };
}
