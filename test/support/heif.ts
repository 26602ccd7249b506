import { readFile, rm } from 'node:fs/promises';
import { FF_ENCODER_LIBX265 } from 'node-av/constants';
import { writeClip } from './clips.ts';

/** HEIF files (ISO/IEC 23008-12) in the form that telephones write: FFmpeg has no writer for them. */

/** One HEVC picture: its decoder's configuration (the box `hvcC`) and its data. */
export interface HeifTile {
  readonly hvcC: Uint8Array;
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface HeifPlan {
  /** Row by row; one without `grid`. */
  readonly tiles: readonly HeifTile[];
  readonly grid?: { readonly columns: number; readonly rows: number; readonly width: number; readonly height: number };
  /** Boxes of the main picture beside its size, in order: `irot`, `imir`, `clap`. */
  readonly properties?: readonly Uint8Array[];
  /** Item type of the tiles. Default `hvc1`. */
  readonly coding?: string;
  /** Of the main item: `grid` or `coding` when left out. */
  readonly type?: string;
  /** The grid is described beside the tiles, not in the box `idat`. */
  readonly gridInFile?: boolean;
}

/** A grey picture, encoded through an MP4 file at `path`, which is gone afterwards. */
export async function heifTile(
  path: string,
  size: { readonly width: number; readonly height: number },
  luma: (x: number, y: number) => number,
): Promise<HeifTile> {
  await writeClip(path, {
    ...size,
    codec: FF_ENCODER_LIBX265,
    format: 'mp4',
    frames: 1,
    luma: (_, x, y) => luma(x, y),
    options: { preset: 'ultrafast', 'x265-params': 'log-level=none:qp=4:bframes=0' },
  });
  const bytes = await readFile(path);
  await rm(path);
  const boxAt = (type: string) => {
    const at = bytes.indexOf(type) - 4;
    return bytes.subarray(at, at + bytes.readUInt32BE(at));
  };
  return { ...size, hvcC: boxAt('hvcC'), data: boxAt('mdat').subarray(8) };
}

export const irot = (quarters: number) => box('irot', [quarters]);
export const imir = (mode: number) => box('imir', [mode]);
/** Width, height, and the offset of the middle; each over 1 or, for halves, over 2. */
export const clap = (width: number, height: number, x2: number, y2: number) =>
  box('clap', [u32(width), u32(1), u32(height), u32(1), u32(x2), u32(2), u32(y2), u32(2)].flat());

export function heifFile({
  tiles,
  grid,
  properties = [],
  coding = 'hvc1',
  type,
  gridInFile = false,
}: HeifPlan): Uint8Array {
  const main = grid ? 100 : 1;
  const ids = tiles.map((_, i) => i + 1);
  const itemTypes = [...ids.map((id) => [id, coding] as const), ...(grid ? [[main, 'grid'] as const] : [])];
  const size = grid ?? tiles[0]!;
  // Properties 1: the configuration, 2: the tiles' size, 3: the picture's size, 4 and on: what is done to it.
  const ipco = [tiles[0]!.hvcC, ispe(tiles[0]!), ispe(size), ...properties];
  const own = properties.map((_, i) => 4 + i);
  const links = grid
    ? [...ids.map((id) => [id, [1, 2]] as const), [main, [3, ...own]] as const]
    : ids.map((id) => [id, [1, 3, ...own]] as const);
  const gridBytes = grid ? [0, 0, grid.rows - 1, grid.columns - 1, ...u16(grid.width), ...u16(grid.height)] : [];
  const meta = (dataAt: number) => {
    let at = dataAt;
    const places: number[][] = tiles.map(({ data }) => {
      at += data.length;
      return [0, at - data.length, data.length];
    });
    if (grid) places.push(gridInFile ? [0, at, gridBytes.length] : [1, 0, gridBytes.length]);
    const iloc = itemTypes.flatMap(([id], i) => {
      const [method, offset, length] = places[i] as [number, number, number];
      return [...u16(id), ...u16(method), ...u16(0), ...u16(1), ...u32(offset), ...u32(length)];
    });
    const infe = itemTypes.flatMap(([id, kind]) => [
      ...box('infe', [2, 0, 0, 0, ...u16(id), 0, 0, ...ascii(id === main && type !== undefined ? type : kind), 0]),
    ]);
    const ipma = links.flatMap(([id, indices]) => [
      ...u16(id),
      indices.length,
      ...indices.map((index) => index | 0x80),
    ]);
    return box('meta', [
      ...u32(0),
      ...box('hdlr', [...u32(0), ...u32(0), ...ascii('pict'), ...Array<number>(13).fill(0)]),
      ...box('pitm', [...u32(0), ...u16(main)]),
      ...box('iloc', [1, 0, 0, 0, 0x44, 0x00, ...u16(itemTypes.length), ...iloc]),
      ...box('iinf', [...u32(0), ...u16(itemTypes.length), ...infe]),
      ...(grid
        ? box('iref', [...u32(0), ...box('dimg', [...u16(main), ...u16(ids.length), ...ids.flatMap(u16)])])
        : []),
      ...box('iprp', [
        ...box(
          'ipco',
          ipco.flatMap((one) => Array.from(one)),
        ),
        ...box('ipma', [...u32(0), ...u32(links.length), ...ipma]),
      ]),
      ...(grid && !gridInFile ? box('idat', gridBytes) : []),
    ]);
  };
  const ftyp = box('ftyp', [...ascii('heic'), ...u32(0), ...ascii('mif1heic')]);
  const dataAt = ftyp.length + meta(0).length + 8;
  const mdat = box('mdat', [...tiles.flatMap(({ data }) => [...data]), ...(gridInFile ? gridBytes : [])]);
  return Uint8Array.from([...ftyp, ...meta(dataAt), ...mdat]);
}

function ispe({ width, height }: { readonly width: number; readonly height: number }): Uint8Array {
  return box('ispe', [...u32(0), ...u32(width), ...u32(height)]);
}

function box(type: string, payload: readonly number[]): Uint8Array {
  return Uint8Array.from([...u32(payload.length + 8), ...ascii(type), ...payload]);
}

function u16(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}

function u32(value: number): number[] {
  return [(value >>> 24) & 255, (value >> 16) & 255, (value >> 8) & 255, value & 255];
}

function ascii(text: string): number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}
