/** Pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * A picture of a camera, a file or a program. Its readers share it: none of them writes into `bytes`. Its capture and arrival
 * times are those of the sample or the job that carries it.
 */
export type Picture =
  | {
      /** A whole JPEG whose header was read and found within the limits. */
      readonly kind: 'jpeg';
      readonly bytes: Uint8Array;
      /** Size of the picture when upright, pixels. */
      readonly width: number;
      readonly height: number;
      /** What decoding it, and turning it upright, will cost, nominal (`media/jpeg-work.ts`); left out: little. */
      readonly decodeMs?: number;
    }
  | {
      /** Packed RGB, 3 bytes a pixel, rows without padding: `bytes.length = width × height × 3`. */
      readonly kind: 'rgb';
      readonly bytes: Uint8Array;
      readonly width: number;
      readonly height: number;
      /** Size of the picture that this one was scaled from: results use it. */
      readonly source: Size;
    };
