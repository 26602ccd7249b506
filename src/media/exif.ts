const TAG_ORIENTATION = 0x0112;
const TYPE_SHORT = 3;
/** Bytes of an entry: tag (2), type (2), count (4), value or place (4). */
const ENTRY_BYTES = 12;

/**
 * The orientation, 1 to 8, in the payload of a JPEG's APP1 segment (EXIF 2.3 §4.5.2, §4.6.4: `Exif`, two bytes, then a TIFF of
 * either byte order). 1 where it has none, and where it is damaged: broken EXIF does not spoil a picture.
 */
export function exifOrientation(payload: Uint8Array): number {
  if (!isExif(payload)) return 1;
  const tiff = new DataView(payload.buffer, payload.byteOffset + 6, payload.byteLength - 6);
  if (tiff.byteLength < 8) return 1;
  const order = tiff.getUint16(0);
  const little = order === 0x4949;
  if ((!little && order !== 0x4d4d) || tiff.getUint16(2, little) !== 42) return 1;
  const directory = tiff.getUint32(4, little);
  if (directory + 2 > tiff.byteLength) return 1;
  const entries = tiff.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries && at + ENTRY_BYTES <= tiff.byteLength; i += 1, at += ENTRY_BYTES) {
    if (tiff.getUint16(at, little) !== TAG_ORIENTATION) continue;
    const value = tiff.getUint16(at + 8, little);
    const isOne = tiff.getUint16(at + 2, little) === TYPE_SHORT && tiff.getUint32(at + 4, little) === 1;
    return isOne && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** Whether an APP1 segment is EXIF's; others carry XMP. */
export function isExif(payload: Uint8Array): boolean {
  return (
    payload.length >= 6 &&
    'Exif'.split('').every((letter, i) => payload[i] === letter.charCodeAt(0)) &&
    payload[4] === 0
  );
}
