/** The little that a player reads of MP4 (ISO/IEC 14496-12). Anything else than the boxes that it looks for gives undefined. Pure. */

/** Units a second of the first track's times: `mdhd` in an initialisation segment. */
export function timescaleOf(init: Uint8Array): number | undefined {
  const mdhd = find(init, ['moov', 'trak', 'mdia', 'mdhd']);
  if (mdhd === undefined) return undefined;
  const at = mdhd.getUint8(0) === 1 ? 20 : 12;
  return mdhd.byteLength < at + 4 ? undefined : mdhd.getUint32(at) || undefined;
}

/** When the first sample of a fragment is decoded, in units of its track: `tfdt`. */
export function decodeTimeOf(fragment: Uint8Array): number | undefined {
  const tfdt = find(fragment, ['moof', 'traf', 'tfdt']);
  if (tfdt === undefined || tfdt.byteLength < (tfdt.getUint8(0) === 1 ? 12 : 8)) return undefined;
  return tfdt.getUint8(0) === 1 ? tfdt.getUint32(4) * 2 ** 32 + tfdt.getUint32(8) : tfdt.getUint32(4);
}

/** The contents of the first box at that path, version and flags included. */
function find(bytes: Uint8Array, path: readonly string[]): DataView | undefined {
  let view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const name of path) {
    const box = child(view, name);
    if (box === undefined) return undefined;
    view = box;
  }
  return view.byteLength > 0 ? view : undefined;
}

function child(view: DataView, name: string): DataView | undefined {
  for (let at = 0; at + 8 <= view.byteLength;) {
    const size = view.getUint32(at);
    // None of these boxes is larger than 4 GiB, or of no size of its own.
    if (size < 8 || at + size > view.byteLength) return undefined;
    const type = String.fromCharCode(...[4, 5, 6, 7].map((offset) => view.getUint8(at + offset)));
    if (type === name) return new DataView(view.buffer, view.byteOffset + at + 8, size - 8);
    at += size;
  }
  return undefined;
}
