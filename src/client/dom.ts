/**
 * The browser's types, where a program is compiled with the DOM library. Without it (a program for Node) they are `never`, so that the
 * declarations of the SDK hold there as well, and functions that need a browser cannot be called.
 */
type OfBrowser<Name extends string> =
  typeof globalThis extends Record<Name, { prototype: infer Instance }> ? Instance : never;

export type Canvas = OfBrowser<'OffscreenCanvas'> | OfBrowser<'HTMLCanvasElement'>;

/** Can be drawn onto a canvas as it is. */
export type Picture = Canvas | OfBrowser<'ImageBitmap'>;

export type VideoElement = OfBrowser<'HTMLVideoElement'>;
export type CameraStream = OfBrowser<'MediaStream'>;
export type PictureFile = OfBrowser<'Blob'>;
