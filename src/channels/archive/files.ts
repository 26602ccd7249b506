import { open, readdir, readFile, rename, rm, stat, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ShelvedFile } from './shelf.ts';

/**
 * How a recording lies on the disk: in the folder of its camera, for each file
 * - `<from>-<to>-<epoch>.mp4`: a header, and fragments of MP4 behind it, each with the name of its frame (`emsg`) in front;
 * - `<from>-<epoch>.segments.jsonl`: a line for the header, and one for each segment in it;
 * - `<from>-<epoch>.results.jsonl`: what was found in frames of that time.
 *
 * Pictures that are being written have `<to>` 0, and what a crash has left of them is taken as far as the lines of segments say. They alone get another name at the
 * end, so that there is no moment in which half of it is done.
 */

const PICTURES = /^(\d{1,15})-(\d{1,15})-(\d{1,15})\.mp4$/;
const BESIDE = /^(\d{1,15}-\d{1,15})\.(segments|results)\.jsonl$/;
const SEGMENTS = '.segments.jsonl';
const RESULTS = '.results.jsonl';

/** First line beside the pictures. */
export interface HeaderLine {
  readonly camera: string;
  readonly epoch: number;
  /** RFC 6381. */
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  /** Of the header, which is at the beginning. */
  readonly bytes: number;
  /** That the camera had then, which its own frames have not; left out: it is not known. */
  readonly masks?: readonly string[];
}

/** A segment: it is played from its beginning, unless `key` is false. */
export interface SegmentLine {
  /** Where in the file. */
  readonly at: number;
  readonly bytes: number;
  /** Capture of its first frame, Unix ms. */
  readonly from: number;
  readonly duration_s: number;
  readonly key: boolean;
}

export interface FileLines {
  readonly header: HeaderLine;
  readonly segments: readonly SegmentLine[];
}

export function fileName(fromMs: number, epoch: number): string {
  return `${fromMs}-${epoch}`;
}

/** Where the files of one name are. */
export interface FilePaths {
  readonly pictures: string;
  readonly segments: string;
  readonly results: string;
}

const KINDS = ['pictures', 'segments', 'results'] as const satisfies readonly (keyof FilePaths)[];

/** `isOpen`: it is being written. */
export function pathsOf(folder: string, { name, fromMs, toMs, epoch }: Place, isOpen = false): FilePaths {
  const pictures = join(folder, `${fromMs}-${isOpen ? 0 : toMs}-${epoch}.mp4`);
  return { pictures, segments: join(folder, name + SEGMENTS), results: join(folder, name + RESULTS) };
}

type Place = Pick<ShelvedFile, 'name' | 'fromMs' | 'toMs' | 'epoch'>;

export function endOf({ from, duration_s }: SegmentLine): number {
  return Math.round(from + duration_s * 1000);
}

/** One file that is being written. Calls must not overlap. All of them throw what the file system says. */
export class OpenFile {
  readonly header: HeaderLine;
  readonly fromMs: number;
  readonly #folder: string;
  readonly #handles: Readonly<Record<keyof FilePaths, FileHandle>>;
  #at: number;
  #besideBytes = 0;
  #toMs: number;

  private constructor(
    folder: string,
    { header, fromMs }: { readonly header: HeaderLine; readonly fromMs: number },
    handles: Readonly<Record<keyof FilePaths, FileHandle>>,
  ) {
    this.#folder = folder;
    this.header = header;
    this.fromMs = fromMs;
    this.#handles = handles;
    this.#at = header.bytes;
    this.#toMs = fromMs;
  }

  static async create(
    folder: string,
    { init, ...facts }: { readonly header: HeaderLine; readonly init: Uint8Array; readonly fromMs: number },
  ): Promise<OpenFile> {
    const { epoch } = facts.header;
    const name = fileName(facts.fromMs, epoch);
    const paths = pathsOf(folder, { name, fromMs: facts.fromMs, toMs: 0, epoch }, true);
    const handles = new Map<keyof FilePaths, FileHandle>();
    try {
      for (const kind of KINDS) handles.set(kind, await open(paths[kind], 'w', 0o600));
      const file = new OpenFile(folder, facts, Object.fromEntries(handles) as Record<keyof FilePaths, FileHandle>);
      await writeAll(handles.get('pictures')!, init, 0);
      await file.#text('segments', `${JSON.stringify(facts.header)}\n`);
      return file;
    } catch (thrown) {
      for (const handle of handles.values()) await handle.close().catch(() => undefined);
      for (const kind of handles.keys()) await rm(paths[kind], { force: true }).catch(() => undefined);
      throw thrown;
    }
  }

  get shelved(): ShelvedFile {
    const { fromMs, header } = this;
    const name = fileName(fromMs, header.epoch);
    return { name, epoch: header.epoch, fromMs, toMs: this.#toMs, bytes: this.#at + this.#besideBytes };
  }

  /** Pictures first: a line says that they are there. */
  async append(bytes: Uint8Array, line: Omit<SegmentLine, 'at' | 'bytes'>): Promise<void> {
    const whole: SegmentLine = { at: this.#at, bytes: bytes.length, ...line };
    await writeAll(this.#handles.pictures, bytes, this.#at);
    await this.#text('segments', `${JSON.stringify(whole)}\n`);
    this.#at += bytes.length;
    this.#toMs = Math.max(this.#toMs, endOf(whole));
  }

  async note(results: readonly object[]): Promise<void> {
    if (results.length > 0)
      await this.#text('results', results.map((result) => `${JSON.stringify(result)}\n`).join(''));
  }

  /** Nothing more comes: it gets its name. Also after another call has failed: what that has left behind its last whole segment is cut off. */
  async finish(): Promise<ShelvedFile> {
    const { shelved } = this;
    try {
      await this.#handles.pictures.truncate(this.#at);
      for (const kind of KINDS) await this.#handles[kind].sync();
    } finally {
      for (const kind of KINDS) await this.#handles[kind].close().catch(() => undefined);
    }
    await rename(pathsOf(this.#folder, shelved, true).pictures, pathsOf(this.#folder, shelved).pictures);
    return shelved;
  }

  async #text(kind: 'segments' | 'results', text: string): Promise<void> {
    await this.#handles[kind].appendFile(text);
    this.#besideBytes += Buffer.byteLength(text);
  }
}

/** What there is of a camera, with what a crash has left behind made whole. Files of other names are left alone. Errors: those of the file system. */
export async function scan(folder: string): Promise<ShelvedFile[]> {
  const entries = await readdir(folder).catch(unlessGone<string[]>([]));
  const found = new Map<string, ShelvedFile>();
  for (const entry of entries) {
    const [, from, to, epoch] = PICTURES.exec(entry)?.map(Number) ?? [];
    if (from === undefined) continue;
    const place = { name: fileName(from, epoch!), fromMs: from, toMs: to!, epoch: epoch! };
    const whole = to === 0 ? await mend(folder, place) : place;
    if (whole) found.set(whole.name, { ...whole, bytes: await bytesOf(pathsOf(folder, whole)) });
  }
  for (const entry of entries) {
    const [, name] = BESIDE.exec(entry) ?? [];
    // Its pictures were removed, and the program ended before it was.
    if (name !== undefined && !found.has(name)) await rm(join(folder, entry), { force: true });
  }
  return [...found.values()];
}

/** undefined: they are gone by now. Errors: others of the file system; SyntaxError where they are damaged. */
export async function readLines(paths: FilePaths): Promise<FileLines | undefined> {
  const text = await readFile(paths.segments, 'utf8').catch(unlessGone(undefined));
  if (text === undefined) return undefined;
  const [header, ...segments] = parsed(text);
  if (!header) throw new SyntaxError(`${paths.segments} has no header`);
  return { header: header as HeaderLine, segments: segments as SegmentLine[] };
}

/** Results of a file. undefined: they are gone by now. */
export async function readResults(paths: FilePaths): Promise<object[] | undefined> {
  const text = await readFile(paths.results, 'utf8').catch(unlessGone(undefined));
  return text === undefined ? undefined : parsed(text);
}

/** A part of the pictures. undefined: they are gone by now. Errors: others of the file system, also where it ends before. */
export async function readBytes(paths: FilePaths, at: number, count: number): Promise<Uint8Array | undefined> {
  const handle =
    (await open(paths.pictures, 'r').catch(unlessGone(undefined))) ??
    // They may have got their name just now.
    (await open(await renamed(paths.pictures), 'r').catch(unlessGone(undefined)));
  if (!handle) return undefined;
  try {
    const bytes = Buffer.allocUnsafeSlow(count);
    let read = 0;
    while (read < count) {
      const { bytesRead } = await handle.read(bytes, read, count - read, at + read);
      if (bytesRead === 0) throw new Error(`${paths.pictures} ends ${count - read} bytes too early`);
      read += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/** The name that pictures have, whose end was another one a moment ago. */
async function renamed(path: string): Promise<string> {
  const [, from, , epoch] = PICTURES.exec(basename(path)) ?? [];
  const entries = await readdir(dirname(path)).catch(unlessGone<string[]>([]));
  const now = entries.find((entry) => {
    const [, itsFrom, , itsEpoch] = PICTURES.exec(entry) ?? [];
    return itsFrom === from && itsEpoch === epoch;
  });
  return now === undefined ? path : join(dirname(path), now);
}

export function unlessGone<T>(instead: T): (thrown: NodeJS.ErrnoException) => T {
  return (thrown) => {
    if (thrown.code !== 'ENOENT') throw thrown;
    return instead;
  };
}

/** Pictures first: without them the others are not found, and go with the next start. */
export async function remove(paths: FilePaths): Promise<void> {
  for (const kind of KINDS) await rm(paths[kind], { force: true });
}

async function bytesOf(paths: FilePaths): Promise<number> {
  const sizes = await Promise.all(
    KINDS.map(async (kind) => (await stat(paths[kind]).catch(() => undefined))?.size ?? 0),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Of pictures that were being written: what the lines name and what is there of it. undefined: nothing, and it is gone. */
async function mend(folder: string, place: Place): Promise<Place | undefined> {
  const paths = pathsOf(folder, place, true);
  const { size } = await stat(paths.pictures);
  const lines = await readLines(paths).catch((thrown: unknown) => {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    return undefined;
  });
  const segments = lines?.segments.filter(({ at, bytes }) => at + bytes <= size) ?? [];
  const last = segments.at(-1);
  if (!last) {
    await remove(paths);
    return undefined;
  }
  await truncate(paths.pictures, last.at + last.bytes);
  await writeFile(paths.segments, [lines!.header, ...segments].map((line) => `${JSON.stringify(line)}\n`).join(''));
  const whole = { ...place, toMs: Math.max(...segments.map(endOf)) };
  await rename(paths.pictures, pathsOf(folder, whole).pictures);
  return whole;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, at + written);
    written += bytesWritten;
  }
}

/** Lines of JSON, up to what a crash or a full disk has cut off. */
function parsed(text: string): object[] {
  const values: object[] = [];
  for (const line of text.split('\n').slice(0, -1)) {
    try {
      values.push(JSON.parse(line) as object);
    } catch {
      break;
    }
  }
  return values;
}
