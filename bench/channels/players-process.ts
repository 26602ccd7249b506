import { Agent, get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../src/base/random.ts';
import { offer } from '../support/children.ts';
import { percentile } from '../support/statistics.ts';

/** Many players of HLS in a process of their own: they ask as hls.js does, and throw away what they get. */

export interface LivePlan {
  readonly url: string;
  /** Of media playlists. */
  readonly paths: readonly string[];
  readonly viewers: number;
  readonly spanMs: number;
}

export interface RecordedPlan {
  readonly url: string;
  /** Of fragments, in their order, by camera. */
  readonly fragments: readonly (readonly string[])[];
  readonly viewers: number;
  readonly stepMs: number;
  readonly steps: number;
}

export interface TracePlan extends RecordedPlan {
  readonly seed: number;
}

/** Stills with what was found drawn on them: of each camera one every so often. */
export interface WallPlan {
  readonly url: string;
  readonly cameras: readonly string[];
  readonly everyMs: number;
  readonly width: number;
}

export interface WallSeen {
  readonly stills: number;
  readonly failed: number;
  /** Of another frame than the last one of that camera. */
  readonly renewed: number;
  readonly own: number;
  readonly predicted: number;
  /** From capture until it was here, ms. */
  readonly agesMs: readonly number[];
  readonly bytes: number;
}

export interface PlayersSeen {
  readonly requests: number;
  readonly failed: number;
  readonly bytes: number;
  /** Different fragments. */
  readonly different: number;
  /** To the first byte of answers that need not wait for what is to come, ms. */
  readonly firstByteP50Ms: number;
  readonly firstByteP95Ms: number;
  /** Of requests that wait for the next part. */
  readonly waits: number;
}

const TIMEOUT_MS = 20_000;
/** Of a trace: how probably a viewer goes on with what it does; what it does after playing; and how far it goes back. */
const GOES_ON = { play: 0.88, rewind: 0.55, camera: 0.55, jump: 0 } as const;
const AFTER_PLAY = [
  ['rewind', 0.4],
  ['camera', 0.4],
  ['jump', 0.2],
] as const;
const REWIND_BY = 3;

type Doing = keyof typeof GOES_ON;

function nextDoing(doing: Doing, random: () => number): Doing {
  if (random() < GOES_ON[doing]) return doing;
  if (doing !== 'play') return 'play';
  let dice = random();
  return AFTER_PLAY.find(([, share]) => (dice -= share) < 0)?.[0] ?? 'jump';
}

interface Answer {
  readonly bytes: Buffer;
  readonly firstByteMs: number;
}

class Tally {
  requests = 0;
  failed = 0;
  bytes = 0;
  waits = 0;
  readonly paths = new Set<string>();
  readonly firstByteMs: number[] = [];

  seen(): PlayersSeen {
    const { requests, failed, bytes, waits, firstByteMs } = this;
    const [firstByteP50Ms, firstByteP95Ms] =
      firstByteMs.length === 0 ? [NaN, NaN] : [percentile(firstByteMs, 50), percentile(firstByteMs, 95)];
    return { requests, failed, bytes, waits, different: this.paths.size, firstByteP50Ms, firstByteP95Ms };
  }
}

function ask(agent: Agent, url: string, name: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sentMs = performance.now();
    const options = { agent, timeout: TIMEOUT_MS, headers: { 'user-agent': name } };
    const request = get(url, options, (response: IncomingMessage) => {
      const firstByteMs = performance.now() - sentMs;
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve({ bytes: Buffer.concat(chunks), firstByteMs });
        else reject(new Error(`${response.statusCode} ${url}: ${Buffer.concat(chunks).toString().slice(0, 300)}`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer: ${url}`)));
    request.on('error', reject);
  });
}

async function fetchFragment(tally: Tally, agent: Agent, url: string, name: string): Promise<void> {
  try {
    const { bytes, firstByteMs } = await ask(agent, url, name);
    tally.requests++;
    tally.bytes += bytes.length;
    tally.firstByteMs.push(firstByteMs);
    tally.paths.add(url);
  } catch (error) {
    noteFailure(tally, error);
  }
}

function noteFailure(tally: Tally, error: unknown): void {
  if (tally.failed++ === 0) process.stderr.write(`players: ${String(error)}\n`);
}

/** What is there, and what comes next. */
function readList(text: string): { readonly parts: readonly string[]; readonly msn: number; readonly part: number } {
  const first = Number(/#EXT-X-MEDIA-SEQUENCE:(\d+)/.exec(text)?.[1] ?? 0);
  const skipped = Number(/SKIPPED-SEGMENTS=(\d+)/.exec(text)?.[1] ?? 0);
  const segments = text.match(/^#EXTINF/gm)?.length ?? 0;
  const open = text.slice(text.lastIndexOf('#EXTINF'));
  const parts = [...text.matchAll(/^#EXT-X-PART:.*URI="([^"]+)"/gm)].map(([, uri]) => uri!);
  return { parts, msn: first + skipped + segments, part: open.match(/^#EXT-X-PART:/gm)?.length ?? 0 };
}

async function playLive(
  tally: Tally,
  { url, path, name, untilMs }: Record<'url' | 'path' | 'name', string> & { untilMs: number },
) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const base = `${url}${path.slice(0, path.lastIndexOf('/') + 1)}`;
  let query = '';
  let last = '';
  while (performance.now() < untilMs) {
    try {
      const { bytes } = await ask(agent, `${url}${path}${query}`, name);
      tally.waits++;
      const { parts, msn, part } = readList(bytes.toString());
      query = `?_HLS_msn=${msn}&_HLS_part=${part}&_HLS_skip=YES`;
      const from = last === '' ? parts.length - 1 : parts.indexOf(last) + 1;
      for (const uri of parts.slice(Math.max(from, parts.length - 3))) {
        await fetchFragment(tally, agent, base + uri, name);
        last = uri;
      }
    } catch (error) {
      noteFailure(tally, error);
      await sleep(1_000);
    }
  }
  agent.destroy();
}

const NO_WALL: WallSeen = { stills: 0, failed: 0, renewed: 0, own: 0, predicted: 0, agesMs: [], bytes: 0 };
let wallSeen = NO_WALL;
let wall = new AbortController();
const shown = new Map<string, string>();

async function fetchStill({ url, width }: WallPlan, camera: string): Promise<void> {
  try {
    const address = `${url}/cameras/${camera}/still.jpg?channel=annotated&width=${width}`;
    const response = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const { byteLength } = await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`${response.status} ${address}`);
    const ageMs = Date.now() - Number(response.headers.get('sightline-capture-time'));
    const frame = response.headers.get('sightline-frame')!;
    const boxes = response.headers.get('sightline-boxes');
    wallSeen = {
      ...wallSeen,
      stills: wallSeen.stills + 1,
      renewed: wallSeen.renewed + (shown.get(camera) === frame ? 0 : 1),
      own: wallSeen.own + (boxes === 'own' ? 1 : 0),
      predicted: wallSeen.predicted + (boxes === 'predicted' ? 1 : 0),
      agesMs: [...wallSeen.agesMs, ageMs],
      bytes: wallSeen.bytes + byteLength,
    };
    shown.set(camera, frame);
  } catch (error) {
    if (wallSeen.failed === 0) process.stderr.write(`wall: ${String(error)}\n`);
    wallSeen = { ...wallSeen, failed: wallSeen.failed + 1 };
  }
}

const api = {
  /** From now on, until another one is given. */
  wall: (plan: WallPlan | undefined): void => {
    wall.abort();
    wall = new AbortController();
    const { signal } = wall;
    for (const [i, camera] of (plan?.cameras ?? []).entries()) {
      void (async () => {
        await sleep((i * plan!.everyMs) / plan!.cameras.length, undefined, { signal });
        for (let dueMs = performance.now(); !signal.aborted; dueMs += plan!.everyMs) {
          await sleep(Math.max(0, dueMs - performance.now()), undefined, { signal });
          await fetchStill(plan!, camera);
        }
      })().catch(() => undefined);
    }
  },

  /** Since the last one. */
  takeWall: (): WallSeen => {
    const seen = wallSeen;
    wallSeen = NO_WALL;
    return seen;
  },

  live: async ({ url, paths, viewers, spanMs }: LivePlan): Promise<PlayersSeen> => {
    const tally = new Tally();
    const untilMs = performance.now() + spanMs;
    await Promise.all(
      Array.from({ length: viewers }, async (_, i) => {
        // They do not come all in the same millisecond.
        await sleep((i / viewers) * 2_000);
        await playLive(tally, { url, path: paths[i % paths.length]!, name: `live ${i}`, untilMs });
      }),
    );
    return tally.seen();
  },

  recorded: async ({ url, fragments, viewers, stepMs, steps }: RecordedPlan): Promise<PlayersSeen> => {
    const tally = new Tally();
    await Promise.all(
      Array.from({ length: viewers }, async (_, i) => {
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        const camera = fragments[i % fragments.length]!;
        const beginMs = performance.now() + (i / viewers) * stepMs;
        for (let step = 0; step < Math.min(steps, camera.length); step++) {
          await sleep(Math.max(0, beginMs + step * stepMs - performance.now()));
          await fetchFragment(tally, agent, url + camera[step]!, `recorded ${i}`);
        }
        agent.destroy();
      }),
    );
    return tally.seen();
  },

  trace: async ({ url, fragments, viewers, stepMs, steps, seed }: TracePlan): Promise<PlayersSeen> => {
    const tally = new Tally();
    await Promise.all(
      Array.from({ length: viewers }, async (_, i) => {
        const random = seededRandom(seed + i);
        const anywhere = (count: number) => Math.floor(random() * count);
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        let doing: Doing = 'play';
        let camera = anywhere(fragments.length);
        let at = anywhere(fragments[camera]!.length);
        const beginMs = performance.now() + (i / viewers) * stepMs;
        for (let step = 0; step < steps; step++) {
          await sleep(Math.max(0, beginMs + step * stepMs - performance.now()));
          await fetchFragment(tally, agent, url + fragments[camera]![at]!, `trace ${i}`);
          doing = nextDoing(doing, random);
          if (doing === 'play') at++;
          else if (doing === 'rewind') at -= REWIND_BY;
          else if (doing === 'camera') camera = (camera + 1) % fragments.length;
          else [camera, at] = [anywhere(fragments.length), anywhere(fragments[0]!.length)];
          const { length } = fragments[camera]!;
          at = at < 0 || at >= length ? anywhere(length) : at;
        }
        agent.destroy();
      }),
    );
    return tally.seen();
  },
};

export type PlayersApi = typeof api;

offer(api);
