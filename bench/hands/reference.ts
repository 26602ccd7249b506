import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import { sha256Of } from '../../src/inference/model-store.ts';
import { CHROMIUM, launchBrowser } from '../../test/support/chromium.ts';
import { CACHE } from '../support/cache.ts';
import { inTime } from '../support/in-time.ts';
import { framesOf, type Clip, type ClipFrame } from './clips.ts';

/**
 * What `@mediapipe/hands` itself finds: the package as it comes, in a browser without a GPU, fed with the pixels that our own
 * reader decodes. Kept by all that decides it, since it takes minutes.
 */

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

export interface ReferenceHand {
  /** As of a mirrored picture, as the package takes every picture for one of a front camera: see `handednessOf`. */
  readonly label: 'Left' | 'Right';
  readonly score: number;
  /** Fractions of the picture. */
  readonly landmarks: readonly Point[];
  /** Metres. */
  readonly world: readonly Point[];
}

/** By frame. */
export type ReferenceFrames = readonly (readonly ReferenceHand[])[];

/** By the name of the clip. */
export type Reference = Readonly<Record<string, ReferenceFrames>>;

/** Those of the package. A clip is a video to it: it tracks. */
export interface ReferenceOptions {
  readonly selfieMode: boolean;
  readonly maxNumHands: number;
  readonly modelComplexity: 0 | 1;
  readonly minDetectionConfidence: number;
  readonly minTrackingConfidence: number;
  /** Its other way, WebGL, takes thirty times as long without a GPU. */
  readonly useCpuInference: boolean;
}

const PACKAGE = new URL('../../node_modules/@mediapipe/hands/', import.meta.url);
const PAGE = new URL('reference-page.html', import.meta.url);
const START_TIMEOUT_MS = 120_000;
const CLIP_TIMEOUT_MS = 900_000;
/** The package wants WebGL, for pictures at least. */
const SOFTWARE_WEBGL = [
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
];

export interface ReferenceContext {
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export async function reference(
  clips: readonly Clip[],
  options: ReferenceOptions,
  context: ReferenceContext,
): Promise<Reference> {
  const page = await readFile(PAGE);
  const { version } = JSON.parse(await readFile(new URL('package.json', PACKAGE), 'utf8')) as { version: string };
  const found: Record<string, ReferenceFrames> = {};
  const missing: { readonly clip: Clip; readonly path: URL }[] = [];
  for (const clip of clips) {
    const key = JSON.stringify([version, sha256Of(page), clip.sha256, ...Object.entries(options).toSorted()]);
    const path = new URL(`hands-${clip.name}-${sha256Of(Buffer.from(key)).slice(0, 16)}.json`, CACHE);
    const kept = await readFile(path, 'utf8').catch(() => undefined);
    if (kept === undefined) missing.push({ clip, path });
    else found[clip.name] = JSON.parse(kept) as ReferenceFrames;
  }
  if (missing.length === 0) return found;
  context.say(`@mediapipe/hands ${version} looks at ${missing.length} clips; that takes minutes and is kept`);
  await mkdir(CACHE, { recursive: true });
  await inBrowser(clips, page, options, context, async (runClip) => {
    for (const { clip, path } of missing) {
      const frames = await runClip(clip);
      await writeFile(path, JSON.stringify(frames));
      found[clip.name] = frames;
      const withHand = frames.filter((hands) => hands.length > 0).length;
      context.say(`reference, ${clip.name}: ${frames.length} frames, a hand in ${withHand}`);
    }
  });
  return found;
}

async function inBrowser(
  clips: readonly Clip[],
  page: Uint8Array,
  options: ReferenceOptions,
  { signal }: ReferenceContext,
  use: (runClip: (clip: Clip) => Promise<ReferenceFrames>) => Promise<void>,
): Promise<void> {
  if (CHROMIUM === undefined) throw new Error('the reference needs Chromium (Debian: chromium), which is not in PATH');
  const server = new FrameServer(clips, page);
  const browser = await launchBrowser(SOFTWARE_WEBGL, { endsProcess: false });
  const onAbort = (): void => void browser.close();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const tab = await browser.newPage();
    const faults: string[] = [];
    tab.on('pageerror', (error) => faults.push(error.message));
    await tab.goto(await server.listen());
    await inTime(tab.evaluate(`start(${JSON.stringify(options)})`), START_TIMEOUT_MS, 'the page', faults);
    await use(({ name }) =>
      inTime(tab.evaluate<ReferenceFrames>(`runClip(${JSON.stringify(name)})`), CLIP_TIMEOUT_MS, 'the page', faults),
    );
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  } finally {
    signal.removeEventListener('abort', onAbort);
    await browser.close();
    await server.close();
  }
}

/** The page, the package's files and the frames of the clips, one after the other; on loopback, at a port that is free. */
class FrameServer {
  readonly #clips: ReadonlyMap<string, Clip>;
  readonly #page: Uint8Array;
  readonly #server: Server;
  #name = '';
  #index = 0;
  #frames: AsyncGenerator<ClipFrame, void, undefined> | undefined;

  constructor(clips: readonly Clip[], page: Uint8Array) {
    this.#clips = new Map(clips.map((clip) => [clip.name, clip]));
    this.#page = page;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((thrown: unknown) => response.writeHead(500).end(String(thrown)));
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    await this.#frames?.return();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer({ url = '/' }: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, folder = '', name = '', index = ''] = url.split('/');
    if (folder === 'frames') return await this.#answerFrame(name, Number(index), response);
    if (folder === '') return void response.writeHead(200, { 'content-type': 'text/html' }).end(this.#page);
    if (folder !== 'package') return void response.writeHead(404).end();
    const bytes = await readFile(new URL(basename(name), PACKAGE));
    response.writeHead(200, { 'content-type': contentType(name) }).end(bytes);
  }

  async #answerFrame(name: string, index: number, response: ServerResponse): Promise<void> {
    if (name !== this.#name || index === 0) {
      await this.#frames?.return();
      this.#name = name;
      this.#index = 0;
      this.#frames = framesOf(this.#clips.get(name)!);
    }
    if (index !== this.#index) throw new RangeError(`frame ${index} of ${name}, where ${this.#index} comes next`);
    this.#index += 1;
    const { value, done } = await this.#frames!.next();
    if (done || !value) return void response.writeHead(204).end();
    const { width, height, bytes } = value;
    response
      .writeHead(200, { 'content-type': 'application/octet-stream', 'x-width': width, 'x-height': height })
      .end(toRgba(bytes));
  }
}

function toRgba(rgb: Uint8Array): Uint8Array {
  const rgba = new Uint8Array((rgb.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from]!;
    rgba[to + 1] = rgb[from + 1]!;
    rgba[to + 2] = rgb[from + 2]!;
  }
  return rgba;
}

function contentType(file: string): string {
  if (file.endsWith('.js')) return 'text/javascript';
  return file.endsWith('.wasm') ? 'application/wasm' : 'application/octet-stream';
}
