/** Pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * A picture of a camera, a file or a program. Who reads it shares it with others: nobody writes into `bytes`. Its capture and arrival
 * times are those of the sample or the job that carries it.
 */
export type Picture =
  | {
      /** A whole JPEG whose header was read and found within the limits. */
      readonly kind: 'jpeg';
      readonly bytes: Uint8Array;
      /** Of the picture when it stands upright, pixels. */
      readonly width: number;
      readonly height: number;
    }
  | {
      /** Packed RGB, 3 bytes a pixel, rows without padding: `bytes.length = width × height × 3`. */
      readonly kind: 'rgb';
      readonly bytes: Uint8Array;
      readonly width: number;
      readonly height: number;
      /** Of the picture that this one was scaled from: the size that results are told of. */
      readonly source: Size;
    };
