import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { z } from 'zod';
import type { Principal } from '../auth/principal.ts';
import { SightlineError } from '../base/errors.ts';
import { hasTag } from './range.ts';
import type { Caller } from './route.ts';

/** What answers with pictures of cameras have in common: who may see them, and how long caches may keep them. */

/** A part of a path. */
export const wholeNumber = z
  .string()
  .regex(/^\d{1,15}$/, 'it is a whole number of up to 15 digits')
  .transform(Number);

/** In which pictures of cameras are shown: as they are, or with what was found drawn on them. */
export const SHOWN_CHANNELS = ['raw', 'annotated'] as const;

/** Of what never changes, s. No player asks for it a day later. */
const IMMUTABLE_S = 86_400;
/** Playlists of fewer bytes are sent as they are. */
const COMPRESSED_BYTES_MIN = 512;
/** Compressed playlists that are kept, and the bytes of one before that: of a live channel all ask for the newest one; those of recordings are long, and each its own. */
const COMPRESSED_MAX = 64;
const COMPRESSED_BYTES_MAX = 64 * 1024;
const GZIP = { level: constants.Z_BEST_SPEED } as const;
const compress = promisify((bytes: Uint8Array, done: (error: Error | null, compressed: Buffer) => void) =>
  gzip(bytes, GZIP, done),
);

export interface AskedMedia {
  readonly caller: Caller;
  /** The camera that it is of. */
  readonly id: string;
  /** Throws what refuses it to this caller. */
  readonly requireShown: (caller: Principal) => void;
}

export class CameraMedia {
  readonly #isOpen: () => boolean;
  /** By their text, the oldest first. */
  readonly #compressed = new Map<string, Promise<Uint8Array>>();

  /** `isOpen`: nobody needs a key, so that caches may keep answers for everybody. */
  constructor(isOpen: () => boolean) {
    this.#isOpen = isOpen;
  }

  /** For as long as an answer counts, s; below 1: it does not. */
  keep(caller: Caller, seconds: number, more = ''): void {
    const whose = this.#isOpen() ? 'public' : 'private';
    caller.setHeader('Cache-Control', seconds < 1 ? 'no-cache' : `${whose}, max-age=${Math.floor(seconds)}${more}`);
  }

  /** Errors: those of `ask`; what the caller may not see, before it is sought and when it is there. */
  async shown<T>(asked: AskedMedia, ask: () => T | Promise<T>): Promise<T> {
    // A refusal may be another answer at any moment.
    asked.caller.setHeader('Cache-Control', 'no-store');
    requireStill(asked);
    const found = await ask();
    requireStill(asked);
    return found;
  }

  /** A playlist, compressed for clients that accept that. One with a key in its addresses is not: how well it shrinks would tell of the key. */
  async playlist(caller: Caller, text: string): Promise<Uint8Array> {
    caller.setHeader('Vary', 'Origin, Accept-Encoding');
    const plain = Buffer.from(text);
    const mayCompress = plain.length >= COMPRESSED_BYTES_MIN && suffixOf(caller) === '';
    if (!mayCompress || !acceptsGzip(caller.request.headers['accept-encoding'])) return plain;
    const bytes = await (plain.length > COMPRESSED_BYTES_MAX ? compress(plain) : this.#compressedOnce(text, plain));
    caller.setHeader('Content-Encoding', 'gzip');
    return bytes;
  }

  #compressedOnce(text: string, plain: Uint8Array): Promise<Uint8Array> {
    const kept = this.#compressed.get(text);
    if (kept) return kept;
    const bytes = compress(plain);
    this.#compressed.set(text, bytes);
    bytes.catch(() => this.#compressed.delete(text));
    if (this.#compressed.size > COMPRESSED_MAX) this.#compressed.delete(this.#compressed.keys().next().value!);
    return bytes;
  }

  /** Something that never changes. undefined: the client has it. Errors: as above, and NOT_FOUND. */
  async immutable(
    asked: AskedMedia & { readonly tag: string },
    ask: () => Uint8Array | undefined | Promise<Uint8Array | undefined>,
  ): Promise<Uint8Array | undefined> {
    const found = await this.shown(asked, ask);
    if (found === undefined) throw new SightlineError('NOT_FOUND', 'it is not kept any more, or will never be there');
    const { caller } = asked;
    const tag = `"${asked.tag}"`;
    caller.setHeader('ETag', tag);
    this.keep(caller, IMMUTABLE_S, ', immutable');
    return hasTag(caller.request.headers['if-none-match'], tag) ? undefined : found;
  }
}

/** Pieces of a long answer, which ends where the caller may see no more of it. */
export async function* shownPieces(asked: AskedMedia, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    requireStill(asked);
    yield piece;
  }
}

/** RFC 9110 §12.5.3, for a client that names it. */
function acceptsGzip(accepted: string | string[] | undefined): boolean {
  return String(accepted ?? '')
    .split(',')
    .some((one) => /^\s*(x-)?gzip\s*(;\s*q=(1(\.0*)?|0?\.\d*[1-9]\d*))?\s*$/i.test(one));
}

/** Addresses in a playlist do not inherit the query by which it came; a player that can set no headers has its key there. */
export function suffixOf({ request: { url = '' } }: Caller): string {
  const at = url.indexOf('?');
  const token = at < 0 ? null : new URLSearchParams(url.slice(at)).get('access_token');
  return token === null ? '' : `?access_token=${encodeURIComponent(token)}`;
}

/** The credential may have come to its end, or masks to the camera. */
function requireStill({ caller, id, requireShown }: AskedMedia): void {
  const principal = caller.principal!;
  principal.require('read', `cameras/${id}`);
  requireShown(principal);
}
