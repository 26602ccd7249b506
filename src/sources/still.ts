import { open } from 'node:fs/promises';
import { AV_PIX_FMT_RGB24, AVERROR_EAGAIN } from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, SoftwareScaleContext } from 'node-av/lib';
import type { FormatContext } from 'node-av/lib';
import { SightlineError } from '../base/errors.ts';
import { HeifError, type HeifPicture, readHeif } from '../media/heif.ts';
import { checkJpeg, decodeJpeg } from '../media/jpeg.ts';
import type { RgbPicture } from '../media/jpeg.ts';
import { isUpright, type Orientation, turnUpright, uprightSize } from '../media/orient.ts';
import { reasonOf, weave } from './ffmpeg.ts';

/** Pictures that FFmpeg alone would read differently from the live lane, or in part: JPEGs, and HEIC and AVIF. */

/** 65,500 is libjpeg's own limit; 800 MB of pixels are enough for any camera. */
const LIMITS = { sideMax: 65_500, pixelsMax: 2 ** 28 };
/** The description of a HEIF file; a real one has some kilobytes. */
const META_BYTES_MAX = 16 * 2 ** 20;
const BOXES_MAX = 1_000;

/** The reader's access to a file: every native call goes through `run`, so that closing can wait for it. */
export interface StillInput {
  readonly path: string;
  readonly format: FormatContext;
  readonly run: (call: Promise<number>) => Promise<number>;
}

/**
 * A JPEG of a file or a URL, decoded as the live lane does it, upright. Errors: SOURCE_UNREADABLE with the reason (cut off, damaged, a
 * kind that is not decoded).
 */
export function decodeJpegStill(path: string, bytes: Uint8Array): RgbPicture {
  try {
    const header = checkJpeg(bytes, LIMITS);
    const stored = decodeJpeg(bytes, new Uint8Array(header.width * header.height * 3), LIMITS);
    return turned(stored, header.orientation);
  } catch (thrown) {
    if (thrown instanceof SightlineError && thrown.code.startsWith('FRAME_')) {
      const cut = thrown.code === 'FRAME_TRUNCATED' ? 'it breaks off: ' : '';
      throw unreadable(path, `${cut}${thrown.message}`, thrown);
    }
    throw thrown;
  }
}

/**
 * Description of a local HEIF file's main picture; undefined for any other file, and for one that holds a film. Errors:
 * SOURCE_UNREADABLE.
 */
export async function findHeif(path: string): Promise<HeifPicture | undefined> {
  // The next reader of the file reports why it cannot be opened.
  await using file = await open(path).catch(() => undefined);
  if (!file) return undefined;
  const { size } = await file.stat();
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
  let meta: { offset: number; length: number } | undefined;
  for (let offset = 0, count = 0; offset + 8 <= size && count < BOXES_MAX; count += 1) {
    const head = Buffer.from(await read(offset, 16));
    const type = head.toString('latin1', 4, 8);
    if (count === 0 && type !== 'ftyp') return undefined;
    const told = head.readUInt32BE(0);
    const header = told === 1 ? 16 : 8;
    const length =
      told === 1 && head.length === 16 ? Number(head.readBigUInt64BE(8)) : told === 0 ? size - offset : told;
    if (type === 'moov') return undefined;
    if (type === 'meta') meta = { offset: offset + header, length: length - header };
    if (length < header) break;
    offset += length;
  }
  if (!meta) return undefined;
  if (meta.offset + meta.length > size) throw unreadable(path, `it breaks off after ${size} bytes, in its description`);
  if (meta.length > META_BYTES_MAX) throw unreadable(path, `its description takes ${meta.length} bytes`);
  try {
    const picture = await readHeif(await read(meta.offset, meta.length), async (offset, length) => {
      const bytes = await read(offset, length);
      if (bytes.length < length) throw new HeifError(`it breaks off after ${size} bytes`);
      return bytes;
    });
    if (picture.endsAt > size) throw new HeifError(`it breaks off: ${size} bytes of ${picture.endsAt} are there`);
    const { grid } = picture;
    if (grid && grid.width * grid.height > LIMITS.pixelsMax) {
      throw new HeifError(`${grid.width}×${grid.height} pixels are more than ${LIMITS.pixelsMax}`);
    }
    return picture;
  } catch (thrown) {
    if (thrown instanceof HeifError) throw unreadable(path, thrown.message, thrown);
    throw thrown;
  }
}

/** The main picture of a HEIF file: its tiles decoded and put together, cropped and turned. Errors: SOURCE_UNREADABLE. */
export async function readHeifStill(input: StillInput, heif: HeifPicture): Promise<RgbPicture> {
  const { path, format, run } = input;
  const canvas = new TileCanvas(heif, path);
  const streams = new Map(format.streams.map((stream) => [stream.index, stream]));
  using packet = new Packet();
  packet.alloc();
  for (;;) {
    const read = await run(format.readFrame(packet));
    if (read === AVERROR_EAGAIN) continue;
    if (read < 0) break;
    const stream = streams.get(packet.streamIndex);
    if (stream && heif.tiles.includes(stream.id)) {
      using codec = new CodecContext();
      const decoder = Codec.findDecoder(stream.codecpar.codecId);
      if (!decoder) throw unreadable(path, 'FFmpeg has no decoder for it');
      codec.allocContext3(decoder);
      check(path, codec.parametersToContext(stream.codecpar));
      codec.threadCount = 1;
      check(path, await run(codec.open2(decoder, null)));
      check(path, await run(codec.sendPacket(packet)));
      check(path, await run(codec.sendPacket(null)));
      using frame = new Frame();
      frame.alloc();
      check(path, await run(codec.receiveFrame(frame)));
      if (frame.decodeErrorFlags !== 0) throw unreadable(path, 'its data is damaged');
      canvas.put(stream.id, await rgbOf(frame, input));
    }
    packet.unref();
  }
  let picture = canvas.picture();
  for (const step of heif.steps) {
    picture = step.kind === 'turn' ? turned(picture, step.orientation) : cropped(picture, step);
  }
  return picture;
}

/** The tiles of a grid, which make one picture; all of them have the size of the first (ISO/IEC 23008-12 §6.6.2.3.1). */
class TileCanvas {
  readonly #heif: HeifPicture;
  readonly #path: string;
  readonly #missing: Set<number>;
  #picture: RgbPicture | undefined;
  #tile: { readonly width: number; readonly height: number } | undefined;

  constructor(heif: HeifPicture, path: string) {
    this.#heif = heif;
    this.#path = path;
    this.#missing = new Set(heif.tiles);
  }

  put(item: number, tile: RgbPicture): void {
    const { grid, tiles } = this.#heif;
    this.#missing.delete(item);
    if (!grid) {
      this.#picture = tile;
      return;
    }
    this.#tile ??= tile;
    if (tile.width !== this.#tile.width || tile.height !== this.#tile.height) {
      throw unreadable(
        this.#path,
        `its grid has tiles of ${this.#tile.width}×${this.#tile.height} and ${tile.width}×${tile.height}`,
      );
    }
    if (tile.width * grid.columns < grid.width || tile.height * grid.rows < grid.height) {
      const cover = `${tile.width * grid.columns}×${tile.height * grid.rows}`;
      throw unreadable(this.#path, `its tiles cover ${cover} of ${grid.width}×${grid.height} pixels`);
    }
    const { width, height } = grid;
    this.#picture ??= { data: new Uint8Array(width * height * 3), width, height };
    for (const [index, id] of tiles.entries()) {
      if (id !== item) continue;
      const left = (index % grid.columns) * tile.width;
      const top = Math.floor(index / grid.columns) * tile.height;
      // The last column and row reach over the picture's edge, or lie outside.
      const across = Math.max(0, Math.min(tile.width, width - left));
      const down = Math.min(tile.height, height - top);
      for (let y = 0; y < down; y += 1) {
        const row = tile.data.subarray(y * tile.width * 3, (y * tile.width + across) * 3);
        if (across > 0) this.#picture.data.set(row, ((top + y) * width + left) * 3);
      }
    }
  }

  picture(): RgbPicture {
    const { grid, tiles, itemType } = this.#heif;
    if (!this.#picture || this.#missing.size > 0) {
      const part = grid ? `${this.#missing.size} of its ${tiles.length} tiles` : 'its main picture';
      throw unreadable(this.#path, `FFmpeg does not read ${part} (${itemType})`);
    }
    return this.#picture;
  }
}

async function rgbOf(frame: Frame, { path, run }: StillInput): Promise<RgbPicture> {
  const { width, height } = frame;
  using target = new Frame();
  using scaler = new SoftwareScaleContext();
  target.alloc();
  target.width = width;
  target.height = height;
  target.format = AV_PIX_FMT_RGB24;
  // Alignment 1: rows without padding.
  check(path, target.getBuffer(1));
  scaler.allocContext();
  weave(frame);
  check(path, await run(scaler.scaleFrame(target, frame)));
  return { data: Uint8Array.from(target.data![0]!.subarray(0, width * height * 3)), width, height };
}

function turned(picture: RgbPicture, orientation: Orientation): RgbPicture {
  if (isUpright(orientation)) return picture;
  const { data, width, height } = picture;
  const into = new Uint8Array(width * height * 3);
  turnUpright(data, width, height, orientation, into);
  return { data: into, ...uprightSize(picture, orientation) };
}

function cropped(
  picture: RgbPicture,
  crop: { readonly left: number; readonly top: number; readonly width: number; readonly height: number },
): RgbPicture {
  const width = Math.min(crop.width, picture.width - crop.left);
  const height = Math.min(crop.height, picture.height - crop.top);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    const from = ((crop.top + y) * picture.width + crop.left) * 3;
    data.set(picture.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { data, width, height };
}

function check(path: string, code: number): void {
  if (code < 0) throw unreadable(path, reasonOf(code));
}

function unreadable(path: string, reason: string, cause?: unknown): SightlineError {
  return new SightlineError('SOURCE_UNREADABLE', `cannot read ${path}: ${reason}`, { cause });
}
