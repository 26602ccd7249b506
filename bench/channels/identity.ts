import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { decodePictures } from '../../test/support/decoded.ts';
import { framesIn } from '../../test/support/hls-fragments.ts';
import { addIdentities, identityOf, NO_IDENTITY, SentLog, type Identity } from '../fleet/identity-log.ts';
import { NumberedWorld } from '../fleet/numbered-world.ts';
import type { FleetBench } from '../fleet/world.ts';
import { atLeast, atMost, type Bar } from '../support/document.ts';
import { setRecord } from './recorded.ts';
import { HlsTab, WhepTab, type ChannelTab, type ShownPicture } from './channel-tab.ts';

/** Whether a frame keeps its name on the ways out: the number in each picture against the one that its camera has sent as the frame of that name, while cameras connect anew. */

const FULL = { cameras: 3, frames: 10_000, cuts: 4 } as const;
const QUICK = { cameras: 2, frames: 300, cuts: 1 } as const;
const SET = { width: 160, height: 90, keyEvery: 25, rateFps: 50, bFrames: 0, ageMs: 100, frames: 1_000 } as const;
const POLL_MS = 200;
const STALL_MS = 60_000;
/** Of an export that is drawn on. */
const DRAWN_MS = 80_000;
const SETTINGS = ['fleet.annotated_max=8', 'fleet.annotated_fps=60', 'archive.free_bytes_min=0', 'archive.file_s=20'];

interface Part {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
}

interface Way {
  readonly name: string;
  readonly open: (id: string) => Promise<ChannelTab>;
}

export async function measureIdentity(bench: FleetBench, browser: Browser): Promise<Part> {
  const plan = bench.quick ? QUICK : FULL;
  const words = [...SETTINGS, `archive.folder=${join(bench.folder, 'archive')}`].flatMap((one) => ['--set', one]);
  // Results are of no account here, and take time from all others.
  await using numbered = await NumberedWorld.open(bench, { ...SET, count: plan.cameras }, () => 'none', words);
  const { world, sources, ids } = numbered;
  const { url } = world.server;
  for (const id of ids) await setRecord(url, id, 'continuous');
  const ways: readonly Way[] = [
    { name: 'hls', open: (id) => HlsTab.open(browser, url, `/hls/${id}/raw/index.m3u8`) },
    { name: 'hls_annotated', open: (id) => HlsTab.open(browser, url, `/hls/${id}/annotated/index.m3u8`) },
    { name: 'whep', open: (id) => WhepTab.open(browser, url, `/whep/${id}/raw`) },
    { name: 'whep_annotated', open: (id) => WhepTab.open(browser, url, `/whep/${id}/annotated`) },
  ];
  const own: Record<string, number> = {};
  const bars: Bar[] = [];
  const logs = async () => {
    const all = new Map<string, SentLog>();
    for (const [i, id] of ids.entries()) all.set(id, new SentLog(await sources.call('pictures', i)));
    return all;
  };
  const tell = (
    name: string,
    { frames, mismatches, unreadable, epochs, examples }: Identity,
    unnamed: number,
  ): void => {
    bench.say(
      `${frames} frames by ${name}, ${mismatches} mismatches, ${unreadable} unreadable, ${unnamed} without a name`,
    );
    for (const example of examples) bench.say(`  ${example}`);
    for (const [what, value] of Object.entries({ frames, mismatches, unreadable, epochs, unnamed }))
      own[`identity_${name}_${what}`] = value;
    bars.push(
      atLeast(`identity_${name}_frames`, frames, plan.frames),
      atMost(`identity_${name}_mismatches`, mismatches + unreadable, 0),
    );
  };
  for (const { name, open } of ways) {
    const shown = new Map<string, ShownPicture[]>(ids.map((id) => [id, []]));
    let unnamed = 0;
    await using stack = new AsyncDisposableStack();
    const tabs: [string, ChannelTab][] = [];
    for (const id of ids) tabs.push([id, stack.use(await open(id))]);
    const take = async () => {
      for (const [id, tab] of tabs) {
        const taken = await tab.take();
        shown.get(id)!.push(...taken.pictures);
        unnamed += taken.unnamed;
      }
      return [...shown.values()].reduce((sum, { length }) => sum + length, 0);
    };
    await throughout(plan, take, (i) => sources.call('cutOne', i % ids.length), bench.signal);
    let identity = NO_IDENTITY;
    for (const [id, log] of await logs()) identity = addIdentities(identity, identityOf(log, shown.get(id)!));
    tell(name, identity, unnamed);
  }
  for (const [name, channel] of [
    ['export', 'raw'],
    ['export_annotated', 'annotated'],
  ] as const) {
    const files = new Map<string, ShownPicture[]>();
    for (const id of ids) files.set(id, await exported(url, id, channel));
    let identity = NO_IDENTITY;
    for (const [id, log] of await logs()) identity = addIdentities(identity, identityOf(log, files.get(id)!));
    tell(name, identity, 0);
  }
  return { own, bars };
}

/** All that was recorded, or the end of it where each frame is encoded anew; each connection as a file: the decoder of some player may hold frames of one back over the beginning of the next. */
async function exported(url: string, id: string, channel: 'raw' | 'annotated'): Promise<ShownPicture[]> {
  const { spans } = (await (await fetch(`${url}/api/cameras/${id}/recordings`)).json()) as {
    spans: { from: number; to: number }[];
  };
  const to = Math.ceil(spans.at(-1)!.to);
  const from = Math.max(Math.floor(spans[0]!.from), channel === 'raw' ? 0 : to - DRAWN_MS);
  const answered = await fetch(`${url}/recordings/${id}/clip.mp4?from=${from}&to=${to}&channel=${channel}`);
  if (!answered.ok) throw new Error(`${id} cannot be exported: ${await answered.text()}`);
  const bytes = Buffer.from(await answered.arrayBuffer());
  const named = framesIn(bytes.subarray(bytes.indexOf('emsg') - 4));
  const pictures = await decodePictures(bytes);
  if (pictures.length !== named.length)
    throw new Error(`${named.length} frames with names, and ${pictures.length} pictures`);
  const inOrder = named.toSorted((one, other) => one.presentationTime - other.presentationTime);
  return pictures.map(({ number }, i) => {
    const { name } = inOrder[i]!;
    return { number, frame: name, captureTimeMs: name.capture_time, shownTimeMs: 0 };
  });
}

async function throughout(
  { frames, cuts }: { readonly frames: number; readonly cuts: number },
  take: () => Promise<number>,
  cut: (i: number) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  let [seen, sinceMs, happened] = [0, performance.now(), 0];
  while (seen < frames) {
    await sleep(POLL_MS, undefined, { signal });
    const now = await take();
    if (now > seen) sinceMs = performance.now();
    else if (performance.now() - sinceMs > STALL_MS) throw new Error(`no frame came after ${now}`);
    seen = now;
    if (happened < cuts && seen >= ((happened + 1) * frames) / (cuts + 1)) await cut(happened++);
  }
}
