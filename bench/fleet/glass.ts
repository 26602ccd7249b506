import { setTimeout as sleep } from 'node:timers/promises';
import { CHROMIUM } from '../../test/support/chromium.ts';
import type { PagePicture } from '../../test/support/player-page.ts';
import { atMost, type Bar } from '../support/document.ts';
import { median, percentile } from '../support/statistics.ts';
import { FILM } from './film.ts';
import { glassDelays } from './glass-delay.ts';
import { NumberedWorld } from './numbered-world.ts';
import { PlayerTab } from './player-tab.ts';
import type { FleetBench } from './world.ts';

/** How old a picture is when it can be seen: from when its camera sent it until a page in Chromium shows it, by the number in the picture. */

const SPAN_MS = { full: 60_000, quick: 8_000 } as const;
/** The player has found its place by then. */
const SETTLE_MS = 3_000;
const POLL_MS = 500;
/** A clip begins anew after so many: later than any picture can be on its way. */
const CLIP_FRAMES = 252;
const RATES_FPS = [FILM.rateFps, 30] as const;

const P95_MS_MAX = 400;
/** Between what the player tells and what was measured. */
const TOLD_OFF_MS_MAX = 40;

interface Part {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
}

export async function measureGlass(bench: FleetBench): Promise<Part> {
  const { quick, signal, say } = bench;
  const own: Record<string, number> = {};
  const bars: Bar[] = [];
  if (CHROMIUM === undefined) {
    say('glass: left out: there is no Chromium (Debian: chromium) in PATH');
    return { own, bars };
  }
  const { width, height, keyEvery } = FILM;
  const set = { count: 1, width, height, keyEvery, rateFps: RATES_FPS[0], frames: CLIP_FRAMES, bFrames: 0, ageMs: 0 };
  await using numbered = await NumberedWorld.open(bench, set, () => 'none');
  const { world, sources, ids } = numbered;
  for (const rateFps of RATES_FPS) {
    if (rateFps !== RATES_FPS[0]) await sources.call('change', { camera: 0, rateFps });
    await using tab = await PlayerTab.open(world.server.url, ids, signal);
    await sleep(SETTLE_MS, undefined, { signal });
    await tab.take();
    const seen: PagePicture[] = [];
    const endMs = performance.now() + (quick ? SPAN_MS.quick : SPAN_MS.full);
    while (performance.now() < endMs) {
      await sleep(POLL_MS, undefined, { signal });
      seen.push(...(await tab.take()));
    }
    const { delaysMs, toldMoreMs, strangers } = glassDelays(await sources.call('pictures', 0), seen);
    if (delaysMs.length === 0) throw new Error('the page has shown no picture');
    const at = rateFps === RATES_FPS[0] ? 'glass' : `glass_${rateFps}_fps`;
    const { waits, jumps } = await tab.state();
    const figures = {
      frames: delaysMs.length,
      strangers,
      moved: await tab.moved(),
      p50_ms: median(delaysMs),
      p95_ms: percentile(delaysMs, 95),
      max_ms: Math.max(...delaysMs),
      told_p50_ms: median(seen.map(({ latencyMs }) => latencyMs)),
      told_off_ms: Math.abs(toldMoreMs),
      waits,
      jumps,
    };
    for (const [name, value] of Object.entries(figures)) own[`${at}_${name}`] = value;
    say(`${at}: ${figures.p50_ms.toFixed(0)} ms, p95 ${figures.p95_ms.toFixed(0)} ms`);
    bars.push(
      atMost(`${at}_p95_ms`, figures.p95_ms, P95_MS_MAX),
      atMost(`${at}_told_off_ms`, figures.told_off_ms, TOLD_OFF_MS_MAX),
    );
  }
  return { own, bars };
}
