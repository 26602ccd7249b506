import { inflateRawSync } from 'node:zlib';
import type { PictureInput } from '../../vision/types.ts';
import { literalOf } from '../model-card.ts';

/** A TFLite file's metadata, as entries of ONNX's `metadata_props`. */

/**
 * Entries of the dictionary that Ultralytics' exports carry (`task`, `names`, `stride`, …), as in their ONNX files; `names` from a file
 * of labels where there is no dictionary. Both lie in a ZIP archive behind the FlatBuffer, where TFLite's metadata tools put
 * files. Empty when there is no archive that can be read.
 */
export function readMetadata(file: Uint8Array): Record<string, string> {
  const texts = readArchive(file);
  const dictionary = [...texts.values()].map(entriesOf).find((entries) => entries !== undefined);
  if (dictionary) return dictionary;
  const lists = [...texts].filter(([name]) => /label.*\.txt$/i.test(name));
  const [only] = lists;
  if (!only || lists.length > 1) return {};
  return { names: JSON.stringify(only[1].trimEnd().split(/\r?\n/)) };
}

const LIMITS = { files: 64, bytes: 1 << 20 };

/** The text files in a ZIP archive at the file's end (PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16). */
function readArchive(file: Uint8Array): Map<string, string> {
  const texts = new Map<string, string>();
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const end = findEnd(view);
  if (end === undefined) return texts;
  const size = view.getUint32(end + 12, true);
  // Offsets count from where the archive begins, or from where the whole file does.
  const before = end - size - view.getUint32(end + 16, true);
  let at = end - size;
  for (let i = 0; i < Math.min(LIMITS.files, view.getUint16(end + 10, true)); i += 1) {
    if (at < 0 || at + 46 > end || view.getUint32(at, true) !== 0x02014b50) return texts;
    const [nameLength, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
      number,
      number,
      number,
    ];
    const name = decode(file.subarray(at + 46, at + 46 + nameLength));
    const text = readEntry(file, view, at, before);
    if (text !== undefined) texts.set(name, text);
    at += 46 + nameLength + extra + comment;
  }
  return texts;
}

/** Where the record at the archive's end is: before a comment of 64 KiB at most. */
function findEnd(view: DataView): number | undefined {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 22 - 0xffff); at -= 1)
    if (view.getUint32(at, true) === 0x06054b50 && view.getUint16(at + 20, true) === view.byteLength - at - 22)
      return at;
  return undefined;
}

/** Stored or deflated; undefined for entries that are neither, too large or not whole. */
function readEntry(file: Uint8Array, view: DataView, entry: number, before: number): string | undefined {
  const method = view.getUint16(entry + 10, true);
  const stored = view.getUint32(entry + 20, true);
  const header = view.getUint32(entry + 42, true) + before;
  if (header < 0 || header + 30 > file.length || stored > LIMITS.bytes) return undefined;
  const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  const bytes = file.subarray(start, start + stored);
  if (method === 0) return decode(bytes);
  if (method !== 8) return undefined;
  try {
    return decode(inflateRawSync(bytes, { maxOutputLength: LIMITS.bytes }));
  } catch {
    return undefined;
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The entries of a dictionary, each as text; undefined for any other text. */
function entriesOf(text: string): Record<string, string> | undefined {
  const value = literalOf(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [key, typeof entry === 'string' ? entry : JSON.stringify(entry)]),
  );
}

/** Where a converted file notes which values its input can take. */
const RANGE_KEY = 'tflite.input_range';

export function noteRange(low: number, high: number): Record<string, string> {
  return { [RANGE_KEY]: `${low} ${high}` };
}

type Values = Pick<PictureInput, 'mean' | 'std'>;

/**
 * Mean and deviation that bring a picture's 0..255 to the values that a quantised input can take, where `convention` would not by
 * far: it would use a part of them, or go beyond. The same pictures then give the same numbers as in TFLite's own examples, where a byte of
 * the picture is a number of the input.
 */
export function withinRange<T extends Values>(convention: T, metadata: Readonly<Record<string, string>>): T {
  const [low = Number.NaN, high = Number.NaN] = (metadata[RANGE_KEY] ?? '').split(' ').map(Number);
  if (!(low < high)) return convention;
  const { mean, std } = convention;
  const lowest = Math.min(...mean.map((m, i) => -m / (std[i] as number)));
  const highest = Math.max(...mean.map((m, i) => (255 - m) / (std[i] as number)));
  // Calibration need not have seen all that pictures can be; 0..1 for −1..1, half of the range, is another convention.
  const near = 0.4 * Math.max(high - low, highest - lowest);
  if (Math.abs(lowest - low) < near && Math.abs(highest - high) < near) return convention;
  const deviation = 255 / (high - low);
  // 0 instead of −0.
  const middle = -low * deviation || 0;
  return { ...convention, mean: [middle, middle, middle], std: [deviation, deviation, deviation] };
}
