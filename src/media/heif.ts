import type { Orientation } from './orient.ts';

/** A step of a HEIF picture after decoding, in the file's order. */
export type HeifStep =
  | {
      readonly kind: 'crop';
      readonly left: number;
      readonly top: number;
      readonly width: number;
      readonly height: number;
    }
  | { readonly kind: 'turn'; readonly orientation: Orientation };

/** The main picture of a HEIF file (HEIC, AVIF): ISO/IEC 23008-12. */
export interface HeifPicture {
  /** Items that hold the coded tiles, row by row; one where the picture is not a grid. */
  readonly tiles: readonly number[];
  /** Present for a grid: its size in tiles, and the picture's in pixels, before any step. */
  readonly grid:
    | { readonly columns: number; readonly rows: number; readonly width: number; readonly height: number }
    | undefined;
  /** Four letters: `hvc1`, `av01`, say. */
  readonly itemType: string;
  readonly steps: readonly HeifStep[];
  /** Where the coded data of the tiles ends: a shorter file breaks off. */
  readonly endsAt: number;
}

/** Thrown for parts that are unknown or missing, in words. */
export class HeifError extends Error {}

/** Tiles of a grid: a picture of 65,535 × 65,535 pixels in tiles of 512 has 16,384. */
const TILES_MAX = 16_384;

interface Place {
  readonly inIdat: boolean;
  readonly extents: readonly { readonly offset: number; readonly length: number }[];
}

/**
 * Reads the payload of a file's `meta` box: which items make up the main picture, and the steps after decoding. Errors: HeifError for
 * damage and for a picture that is made in another way (an overlay, say). `readFile` reads the file, for a grid that is described
 * outside of the box.
 */
export async function readHeif(
  meta: Uint8Array,
  readFile: (offset: number, length: number) => Promise<Uint8Array>,
): Promise<HeifPicture> {
  try {
    return await read(meta, readFile);
  } catch (thrown) {
    if (thrown instanceof RangeError) throw new HeifError('its description is damaged');
    throw thrown;
  }
}

async function read(
  meta: Uint8Array,
  readFile: (offset: number, length: number) => Promise<Uint8Array>,
): Promise<HeifPicture> {
  // Four bytes of version and flags, then boxes.
  const boxes = new Map([...boxesOf(meta.subarray(4))].map(({ type, payload }) => [type, payload]));
  const box = (type: string) => {
    const found = boxes.get(type);
    if (!found) throw new HeifError(`its description has no part ${type}`);
    return found;
  };
  const main = mainItem(box('pitm'));
  const types = itemTypes(box('iinf'));
  const places = itemPlaces(box('iloc'));
  const steps = stepsOf(box('iprp'), main);
  const type = types.get(main) ?? 'unknown';
  if (type !== 'grid') {
    if (!/^(hvc1|hev1|av01|avc1|jpeg|vvc1)$/.test(type)) {
      throw new HeifError(`its main picture is of the type ${type}, which is not supported`);
    }
    return { tiles: [main], grid: undefined, itemType: type, steps, endsAt: endOf(places, [main]) };
  }
  const grid = gridOf(await itemBytes(places.get(main), boxes.get('idat'), readFile));
  const tiles = boxes.has('iref') ? references(box('iref'), 'dimg', main) : [];
  if (tiles.length !== grid.rows * grid.columns) {
    throw new HeifError(`its grid of ${grid.columns}×${grid.rows} tiles has ${tiles.length} of them`);
  }
  const itemType = types.get(tiles[0]!) ?? 'unknown';
  return { tiles, grid, itemType, steps, endsAt: endOf(places, tiles) };
}

function* boxesOf(bytes: Uint8Array): Generator<{ type: string; payload: Uint8Array }, void, undefined> {
  const reader = new Reader(bytes);
  while (reader.left >= 8) {
    const size = reader.uint(4);
    const type = reader.text(4);
    const length = size === 1 ? reader.uint(8) - 16 : size === 0 ? reader.left : size - 8;
    yield { type, payload: reader.bytes(length) };
  }
}

function mainItem(pitm: Uint8Array): number {
  const reader = new Reader(pitm);
  const version = reader.version();
  return reader.uint(version === 0 ? 2 : 4);
}

function itemTypes(iinf: Uint8Array): Map<number, string> {
  const reader = new Reader(iinf);
  reader.uint(reader.version() === 0 ? 2 : 4);
  const types = new Map<number, string>();
  for (const { type, payload } of boxesOf(reader.rest())) {
    if (type !== 'infe') continue;
    const entry = new Reader(payload);
    const version = entry.version();
    if (version < 2) continue;
    const id = entry.uint(version === 2 ? 2 : 4);
    entry.uint(2);
    types.set(id, entry.text(4));
  }
  return types;
}

function itemPlaces(iloc: Uint8Array): Map<number, Place> {
  const reader = new Reader(iloc);
  const version = reader.version();
  const sizes = reader.uint(2);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15];
  const indexBytes = version > 0 ? sizes & 15 : 0;
  const places = new Map<number, Place>();
  for (let left = reader.uint(version < 2 ? 2 : 4); left > 0; left -= 1) {
    const id = reader.uint(version < 2 ? 2 : 4);
    const method = version > 0 ? reader.uint(2) & 15 : 0;
    reader.uint(2);
    const base = reader.uint(baseBytes);
    const extents: { offset: number; length: number }[] = [];
    for (let count = reader.uint(2); count > 0; count -= 1) {
      reader.uint(indexBytes);
      extents.push({ offset: base + reader.uint(offsetBytes), length: reader.uint(lengthBytes) });
    }
    places.set(id, { inIdat: method === 1, extents });
  }
  return places;
}

function endOf(places: ReadonlyMap<number, Place>, items: readonly number[]): number {
  const ends = items.flatMap((id) => {
    const place = places.get(id);
    return place && !place.inIdat ? place.extents.map(({ offset, length }) => offset + length) : [];
  });
  return ends.reduce((most, end) => Math.max(most, end), 0);
}

async function itemBytes(
  place: Place | undefined,
  idat: Uint8Array | undefined,
  readFile: (offset: number, length: number) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const extent = place?.extents[0];
  if (!place || !extent) throw new HeifError('its grid is not described');
  if (!place.inIdat) return await readFile(extent.offset, Math.min(extent.length, 16));
  return (idat ?? new Uint8Array(0)).subarray(extent.offset, extent.offset + extent.length);
}

/** ISO/IEC 23008-12 §6.6.2.3.2. */
function gridOf(bytes: Uint8Array): { columns: number; rows: number; width: number; height: number } {
  const reader = new Reader(bytes);
  reader.uint(1);
  const sideBytes = (reader.uint(1) & 1) === 1 ? 4 : 2;
  const rows = reader.uint(1) + 1;
  const columns = reader.uint(1) + 1;
  const width = reader.uint(sideBytes);
  const height = reader.uint(sideBytes);
  if (rows * columns > TILES_MAX) throw new HeifError(`its grid has ${columns}×${rows} tiles, more than ${TILES_MAX}`);
  if (width === 0 || height === 0) throw new HeifError(`its grid is ${width}×${height} pixels large`);
  return { columns, rows, width, height };
}

function references(iref: Uint8Array, kind: string, from: number): number[] {
  const reader = new Reader(iref);
  const idBytes = reader.version() === 0 ? 2 : 4;
  for (const { type, payload } of boxesOf(reader.rest())) {
    const entry = new Reader(payload);
    if (type !== kind || entry.uint(idBytes) !== from) continue;
    return Array.from({ length: entry.uint(2) }, () => entry.uint(idBytes));
  }
  return [];
}

/** The properties of an item that change its picture. */
function stepsOf(iprp: Uint8Array, item: number): HeifStep[] {
  const inside = [...boxesOf(iprp)];
  const ipco = inside.find(({ type }) => type === 'ipco');
  const properties = ipco ? [...boxesOf(ipco.payload)] : [];
  const own = inside
    .filter(({ type }) => type === 'ipma')
    .flatMap(({ payload }) => associations(payload).get(item) ?? [])
    .flatMap((index) => properties[index - 1] ?? []);
  let size = { width: 0, height: 0 };
  const made: HeifStep[] = [];
  for (const { type, payload } of own) {
    const reader = new Reader(payload);
    if (type === 'ispe') {
      reader.version();
      size = { width: reader.uint(4), height: reader.uint(4) };
    } else if (type === 'irot') {
      const orientation = QUARTERS[reader.uint(1) & 3]!;
      if (orientation.a === 0) size = { width: size.height, height: size.width };
      made.push({ kind: 'turn', orientation });
    } else if (type === 'imir') {
      made.push({ kind: 'turn', orientation: (reader.uint(1) & 1) === 1 ? LEFT_RIGHT : TOP_BOTTOM });
    } else if (type === 'clap') {
      const crop = cropOf(reader, size);
      size = crop;
      made.push({ kind: 'crop', ...crop });
    }
  }
  return made;
}

/** By the number of quarters that a picture is rotated counter-clockwise (§6.5.10). */
const QUARTERS: readonly Orientation[] = [
  { a: 1, b: 0, c: 0, d: 1 },
  { a: 0, b: -1, c: 1, d: 0 },
  { a: -1, b: 0, c: 0, d: -1 },
  { a: 0, b: 1, c: -1, d: 0 },
];

/** §6.5.12: mode 0 exchanges top and bottom, 1 left and right. */
const TOP_BOTTOM: Orientation = { a: 1, b: 0, c: 0, d: -1 };
const LEFT_RIGHT: Orientation = { a: -1, b: 0, c: 0, d: 1 };

function associations(ipma: Uint8Array): Map<number, number[]> {
  const reader = new Reader(ipma);
  const head = reader.uint(4);
  const isWide = (head & 1) === 1;
  const found = new Map<number, number[]>();
  for (let left = reader.uint(4); left > 0; left -= 1) {
    const id = reader.uint(head >>> 24 === 0 ? 2 : 4);
    const indices = Array.from({ length: reader.uint(1) }, () =>
      isWide ? reader.uint(2) & 0x7fff : reader.uint(1) & 0x7f,
    );
    found.set(id, [...(found.get(id) ?? []), ...indices]);
  }
  return found;
}

/** Clean aperture, ISO/IEC 14496-12 §12.1.4: fractions; the offset is from the picture's centre to the crop's. */
function cropOf(reader: Reader, size: { width: number; height: number }) {
  const fraction = (isSigned: boolean) => {
    const over = reader.uint(4);
    const under = reader.uint(4);
    return (isSigned ? over | 0 : over) / Math.max(1, under);
  };
  const [width, height, x, y] = [fraction(false), fraction(false), fraction(true), fraction(true)];
  const left = clamp(Math.round((size.width - width) / 2 + x), 0, size.width - 1);
  const top = clamp(Math.round((size.height - height) / 2 + y), 0, size.height - 1);
  return {
    left,
    top,
    width: clamp(Math.round(width), 1, size.width - left),
    height: clamp(Math.round(height), 1, size.height - top),
  };
}

function clamp(value: number, from: number, to: number): number {
  return Math.max(from, Math.min(to, value));
}

/** Big-endian numbers and texts one after the other. Throws RangeError behind the end. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  bytes(length: number): Uint8Array {
    if (!(length >= 0 && length <= this.left)) throw new RangeError('behind the end');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  /** Of 0 to 8 bytes. */
  uint(length: number): number {
    return this.bytes(length).reduce((value, byte) => value * 256 + byte, 0);
  }

  text(length: number): string {
    return String.fromCharCode(...this.bytes(length));
  }

  /** Passes the flags of a full box. */
  version(): number {
    return Math.floor(this.uint(4) / 2 ** 24);
  }
}
