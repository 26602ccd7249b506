/** ID3v2.4 (https://id3.org/id3v2.4.0-structure): the form of timed metadata in HLS. */

const HEADER_BYTES = 10;
const UTF_8 = 3;

/** A tag with one user-defined text (`TXXX`). */
export function id3Text(description: string, value: string): Uint8Array {
  const text = Buffer.from(`\0${description}\0${value}`, 'utf8');
  text[0] = UTF_8;
  const frame = Buffer.concat([Buffer.from('TXXX', 'latin1'), syncsafe(text.length), Buffer.alloc(2), text]);
  const version = Buffer.from([4, 0, 0]);
  return Buffer.concat([Buffer.from('ID3', 'latin1'), version, syncsafe(frame.length), frame]);
}

/** Of a tag of `id3Text`; undefined: it is none. */
export function readId3Text(tag: Uint8Array): { readonly description: string; readonly value: string } | undefined {
  const bytes = Buffer.from(tag.buffer, tag.byteOffset, tag.length);
  if (bytes.toString('latin1', 0, 3) !== 'ID3' || bytes.toString('latin1', HEADER_BYTES, HEADER_BYTES + 4) !== 'TXXX')
    return undefined;
  // Behind the header of the frame and the kind of its text.
  const [description = '', value = ''] = bytes.toString('utf8', 2 * HEADER_BYTES + 1).split('\0');
  return { description, value };
}

/** 28 bits in four bytes, none of which has its highest bit set. */
function syncsafe(size: number): Buffer {
  return Buffer.from([21, 14, 7, 0].map((shift) => (size >>> shift) & 0x7f));
}
