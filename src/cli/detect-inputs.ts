import { open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { isUrl } from '../sources/file.ts';

/** The inputs of `detect`, folder by folder and file by file. */

export interface DetectInput {
  /** As given; for a file of a folder, behind the folder's name. */
  readonly name: string;
  /** Absolute, or a URL. */
  readonly path: string;
}

export interface DetectInputs {
  readonly inputs: readonly DetectInput[];
  /** Several inputs were given, or a folder: outputs go into a folder, and lines say which file they are of. */
  readonly areSeveral: boolean;
  /** Folders without pictures or videos. */
  readonly empty: readonly SightlineError[];
  /** For a person: files of folders that are left out. */
  readonly notices: readonly string[];
}

/** Endings of the files that a folder is searched for. A file that is named itself may have any. */
const ENDINGS = new Set(
  [
    'jpg jpeg jpe jfif png apng gif webp bmp tif tiff heic heif hif avif jxl jp2 j2k ppm pgm pbm pnm tga exr qoi',
    'mp4 m4v mov qt avi mkv webm mpg mpeg m2v m2ts mts ts vob dv wmv asf flv ogv 3gp 3g2 mxf',
    'mjpeg mjpg h264 264 h265 265 hevc y4m ivf nut',
  ]
    .join(' ')
    .split(' ')
    .map((ending) => `.${ending}`),
);
/** Endings of transport streams that TypeScript has as well. */
const AMBIGUOUS = new Set(['.ts', '.mts']);
/** First byte of each packet of a transport stream (ISO/IEC 13818-1 §2.4.3.2); with .mts a time of 4 bytes goes before. */
const SYNC_BYTE = 0x47;

const NAMES_TOLD_MAX = 10;

/** Puts the files of folders in their place, by name; folders in folders are not entered. */
export async function expandInputs(given: readonly string[], cwd: string): Promise<DetectInputs> {
  const inputs: DetectInput[] = [];
  const notices: string[] = [];
  const empty: SightlineError[] = [];
  let areSeveral = given.length > 1;
  for (const name of given) {
    const path = isUrl(name) ? name : resolve(cwd, name);
    if (isUrl(name) || !(await isFolder(path))) {
      inputs.push({ name, path });
      continue;
    }
    areSeveral = true;
    const { taken, left } = await listFolder(path);
    inputs.push(...taken.map((file) => ({ name: join(name, file), path: join(path, file) })));
    if (left.length > 0) notices.push(leftOut(name, left));
    if (taken.length === 0) {
      empty.push(new SightlineError('SOURCE_NOT_FOUND', `there is no picture or video in the folder ${path}`));
    }
  }
  return { inputs, areSeveral, empty, notices };
}

async function listFolder(path: string): Promise<{ taken: string[]; left: string[] }> {
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: Error) => {
    throw new SightlineError('SOURCE_UNREADABLE', `cannot read ${path}: ${cause.message}`, { cause });
  });
  const byName = new Intl.Collator('en', { numeric: true });
  const taken: string[] = [];
  const left: string[] = [];
  for (const entry of entries.toSorted((a, b) => byName.compare(a.name, b.name))) {
    const isOne = !(await isFolder(join(path, entry.name))) && (await looksLikeInput(join(path, entry.name)));
    (isOne ? taken : left).push(entry.name);
  }
  return { taken, left };
}

async function looksLikeInput(path: string): Promise<boolean> {
  const ending = extname(path).toLowerCase();
  if (!ENDINGS.has(ending) || basename(path).startsWith('.')) return false;
  if (!AMBIGUOUS.has(ending)) return true;
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(5), 0, 5, 0);
    return bytesRead === 5 && (buffer[0] === SYNC_BYTE || buffer[4] === SYNC_BYTE);
  } catch {
    // The code that opens it will say why it cannot be read.
    return true;
  }
}

function leftOut(folder: string, names: readonly string[]): string {
  const told = names.slice(0, NAMES_TOLD_MAX).join(', ');
  const more = names.length > NAMES_TOLD_MAX ? ` and ${names.length - NAMES_TOLD_MAX} more` : '';
  return `left out of ${folder}, no pictures or videos by their names: ${told}${more}`;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/** Errors: USAGE, for a folder of outputs that holds inputs, which would be overwritten. */
export async function checkOutFolder(out: string, inputs: readonly DetectInput[]): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found && !found.isDirectory()) {
    throw new SightlineError('USAGE', `--out ${out} is a file; for several inputs it must be a folder`);
  }
  const own = await realpath(out).catch(() => out);
  for (const { name, path } of inputs) {
    const folder = isUrl(path) ? undefined : dirname(await realpath(path).catch(() => path));
    if (folder === own) {
      throw new SightlineError('USAGE', `--out ${out} is the folder of the input ${name}, which might be overwritten`);
    }
  }
}

/** Names of outputs in one folder: the input's own with another ending, and with a number where that is taken. */
export class OutputNames {
  readonly #taken = new Set<string>();

  /** `still`: a picture; it stays a PNG where it was one. */
  take(input: string, still: boolean): string {
    const file = basename(isUrl(input) ? new URL(input).pathname : input);
    const from = extname(file);
    const stem = basename(file, from).replaceAll(/[^\p{L}\p{N} ._()+-]/gu, '_') || 'input';
    const ending = still ? (from.toLowerCase() === '.png' ? '.png' : '.jpg') : '.mp4';
    let name = `${stem}${ending}`;
    for (let number = 2; this.#taken.has(name.toLowerCase()); number += 1) name = `${stem}-${number}${ending}`;
    this.#taken.add(name.toLowerCase());
    return name;
  }
}
