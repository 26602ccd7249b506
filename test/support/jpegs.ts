import { encodeJpeg } from '../../src/media/jpeg.ts';

/** Pictures of 40 × 24 pixels, red rising to the right, green downward: what the project's own encoder cannot make, by cjpeg 2.1.5. */
export const JPEGS = {
  /** Progressive, 4:2:0, a restart marker after each row of units. */
  progressive: Buffer.from(
    [
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS',
      'Mj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P',
      'T0//wgARCAAYACgDASIAAhEBAxEB/8QAFwABAQEBAAAAAAAAAAAAAAAAAAMEBf/EABYBAQEBAAAAAAAAAAAAAAAAAAMEBf/dAAQAA//a',
      'AAwDAQACEAMQAAAB4tNdaByV1VK/I6A7P//QpULIrQK6oO3/xAAWEAADAAAAAAAAAAAAAAAAAAAAAQL/3QAEAAX/2gAIAQEAAQUCUikU',
      'ikUn/9BSKRSKRSf/0VIpFIpFJ//EABgRAAMBAQAAAAAAAAAAAAAAAAACAwEh/90ABAAD/9oACAEDAQE/AZ2J2Ftw/9CbaTbRW0//xAAZ',
      'EQEBAAMBAAAAAAAAAAAAAAABAAIDEhP/2gAIAQIBAT8Bdk7L0v/Qcmcm6b//xAAUEAEAAAAAAAAAAAAAAAAAAAAg/90ABAAF/9oACAEB',
      'AAY/Aj//0D//0T//xAAUEAEAAAAAAAAAAAAAAAAAAAAg/9oACAEBAAE/ISqv/9Aqr//RKq//3QAEAAP/2gAMAwEAAgADAAAAEEys/wD/',
      '0IHQP//EABYRAQEBAAAAAAAAAAAAAAAAABAAEf/aAAgBAwEBPxBAf//QEsV//8QAFxEAAwEAAAAAAAAAAAAAAAAAAAEQIf/aAAgBAgEB',
      'PxCe9n//0JIw/8QAFRABAQAAAAAAAAAAAAAAAAAAAGH/3QAEAAX/2gAIAQEAAT8Qiiiii//Qiiiii//Riiiii//Z',
    ].join(''),
    'base64',
  ),
  /** Arithmetic coding, 4:2:0. */
  arithmetic: Buffer.from(
    [
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS',
      'Mj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P',
      'T0//yQARCAAYACgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AKAMGMmQNXIqnH2SF+U99N7rYclnvN3jrAQ/X43b',
      'XImbsZ9JN6W19xI+EL4/KC2QknWTlcHMJLddv68B5J3vdGA6lk6sUGJ66JjL9QFSWPiP1BRJYP/Z',
    ].join(''),
    'base64',
  ),
  /** 4:4:0. */
  sampling440: Buffer.from(
    [
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS',
      'Mj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P',
      'T0//wAARCAAYACgDARIAAhEBAxEB/8QAGAABAQEBAQAAAAAAAAAAAAAABQAEAwb/xAAXEAADAQAAAAAAAAAAAAAAAAAAAwRh/8QAFwEB',
      'AQEBAAAAAAAAAAAAAAAABAMFB//EABgRAAMBAQAAAAAAAAAAAAAAAAACAwQB/9oADAMBAAIRAxEAPwDxa5MHlyYandJmT2BS5MH1yYS7',
      'pHz2BK5MH1yYS7pHz2BS5MHlyYS7pHT2BS5MH1yYS7pHz2HBcmEH7RjkU6saVyYRNqMPnVjUuTCJdow6dWNK5MIl2jD51Y0rkwiXaMPn',
      'Vj//2Q==',
    ].join(''),
    'base64',
  ),
  /** 4:1:1. */
  sampling411: Buffer.from(
    [
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS',
      'Mj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P',
      'T0//wAARCAAYACgDAUEAAhEBAxEB/8QAFwABAQEBAAAAAAAAAAAAAAAABAADBv/EABcQAAMBAAAAAAAAAAAAAAAAAAADBGH/xAAXAQEB',
      'AQEAAAAAAAAAAAAAAAAGBAIF/8QAGhEAAgIDAAAAAAAAAAAAAAAAAAMBAgUhMf/aAAwDAQACEQMRAD8A4tcmCVyYJXJgpcmHUc0uxzuC',
      'VyYREQy0U1dowXJgpcmCVyYJXJhlzQDjncFLkwiIhlopq7RguTBK5MFLkwSuTDLmgLHO4JXJhERDLRTV2j//2Q==',
    ].join(''),
    'base64',
  ),
  /** Three luminance blocks for one of each colour: nothing that libjpeg-turbo has a name for. */
  sampling311: Buffer.from(
    [
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS',
      'Mj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P',
      'T0//wAARCAAYACgDATEAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQID',
      'AAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlq',
      'c3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3',
      '+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEI',
      'FEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImK',
      'kpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDi',
      '47T2qzHae1WY7T2r16lU2wdYtR2ntVmO09qK4Z1dT6nDVvdII7T2q1Hae1WY7T2qalU+CwdYsx2ntVqO09qK4Z1dT6nDVvdII7T2qzHa',
      'e1Wo7T2qKlU+BwdYsx2ntVmO09qK4p1dT6nDVvdP/9k=',
    ].join(''),
    'base64',
  ),
  /** One component. */
  grey: Buffer.from(
    [
      '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNS',
      'Mj5aYVpQYEpRUk//wAALCAAYACgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABAMG/8QAFxAAAwEAAAAAAAAAAAAAAAAAAAMEYf/aAAgB',
      'AQAAPwDFrkwSuTBK5MFLkwSuTCC5MFLkwSuTBK5MFLkwguTBK5MFLkwSuTBK5MP/2Q==',
    ].join(''),
    'base64',
  ),
} as const;

/** `Exif`, two zeros, and a TIFF with one entry: tag 0112 (orientation), type 3 (short), count 1 (EXIF 2.3 §4.5). */
export function exifOf(orientation: number, order: 'II' | 'MM' = 'MM'): number[] {
  const big = order === 'MM';
  const short = (value: number) => (big ? [value >> 8, value & 255] : [value & 255, value >> 8]);
  const long = (value: number) => (big ? [0, 0, ...short(value)] : [...short(value), 0, 0]);
  const entry = [...short(0x0112), ...short(3), ...long(1), ...short(orientation), 0, 0];
  return [...ascii('Exif'), 0, 0, ...ascii(order), ...short(42), ...long(8), ...short(1), ...entry, ...long(0)];
}

/** The JPEG with a segment of its own behind its start. */
export function withSegment(jpeg: Uint8Array, marker: number, payload: readonly number[]): Uint8Array {
  const length = payload.length + 2;
  return Uint8Array.from([0xff, 0xd8, 0xff, marker, length >> 8, length & 255, ...payload, ...jpeg.subarray(2)]);
}

/** A JPEG of 16 × 8 pixels, left half red, right half blue, whose EXIF data says how it is to be turned. */
export function turnedJpeg(orientation: number, order?: 'II' | 'MM'): Uint8Array {
  const data = new Uint8Array(16 * 8 * 3);
  for (let i = 0; i < 16 * 8; i += 1) data[i * 3 + (i % 16 < 8 ? 0 : 2)] = 255;
  return withSegment(encodeJpeg({ data, width: 16, height: 8 }, 95), 0xe1, exifOf(orientation, order));
}

/** The JPEG with bytes put in before each of its markers of one kind, from `from` on. */
export function withBytesBefore(jpeg: Uint8Array, marker: number, bytes: readonly number[], from = 2): Uint8Array {
  const out: number[] = [];
  for (const [at, byte] of jpeg.entries()) {
    if (at >= from && byte === 0xff && jpeg[at + 1] === marker) out.push(...bytes);
    out.push(byte);
  }
  return Uint8Array.from(out);
}

/**
 * Pictures of one size, 16 rows each, as one JPEG below each other with a restart marker between two: coding starts afresh there, so
 * that the data of each can be taken as it is.
 */
export function stackedJpeg(
  parts: readonly { data: Uint8Array; width: number; height: number }[],
  quality: number,
): Uint8Array {
  const coded = parts.map((part) => Buffer.from(encodeJpeg(part, quality)));
  const [first] = coded as [Buffer];
  const head = Buffer.from(first.subarray(2, dataAt(first)));
  head.writeUInt16BE(16 * parts.length, head.indexOf(Buffer.of(0xff, 0xc0)) + 5);
  const unitsWide = Math.ceil(parts[0]!.width / 16);
  const restart = [0xff, 0xdd, 0, 4, unitsWide >> 8, unitsWide & 255];
  const data: number[] = [];
  for (const [i, jpeg] of coded.entries()) {
    if (i > 0) data.push(0xff, 0xd0 + ((i - 1) % 8));
    data.push(...jpeg.subarray(dataAt(jpeg), -2));
  }
  return Uint8Array.from([0xff, 0xd8, ...restart, ...head, ...data, 0xff, 0xd9]);
}

/** Where the data of the one scan begins. */
function dataAt(jpeg: Buffer): number {
  const scan = jpeg.indexOf(Buffer.of(0xff, 0xda));
  return scan + 2 + jpeg.readUInt16BE(scan + 2);
}

function ascii(text: string): number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}
