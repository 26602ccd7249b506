import type { ErrorCode } from '../../src/base/errors.ts';

/** Addresses of made-up cameras, which `scripted-reader.ts` reads. */

/** What a camera does some time after it was opened; `silent`: it never answers. */
export type Deed =
  | 'silent'
  | 'crash'
  | 'hang'
  | 'stall'
  | 'break'
  | 'end'
  /** Ends after a group of pictures, and says so before the last of them has come. */
  | 'end early'
  | 'black'
  /** Black, and soon afterwards it breaks off. */
  | 'blackout'
  | 'garble'
  | 'change'
  | 'lose device'
  | 'no stills'
  /** Encoding it anew fails, whenever that is asked for. */
  | 'no transcode';

export interface ScriptOptions {
  readonly does?: Deed;
  readonly afterMs?: number;
  /** It does not open, with this error. */
  readonly code?: ErrorCode;
  readonly openMs?: number;
  readonly fps?: number;
  readonly width?: number;
  readonly height?: number;
  readonly fragmentBytes?: number;
  /** A file: where it is, the deed was done already, and is not done again. */
  readonly once?: string;
}

export interface Script extends Required<
  Pick<ScriptOptions, 'afterMs' | 'openMs' | 'fps' | 'width' | 'height' | 'fragmentBytes'>
> {
  readonly url: string;
  readonly does: Deed | undefined;
  readonly code: ErrorCode | undefined;
  readonly once: string | undefined;
}

/** Frames from one key frame to the next. */
export const SCRIPTED_GOP = 10;

export function scripted(options: ScriptOptions = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options)) query.set(name, String(value));
  return `rtsp://viewer:open-sesame@camera.example/?${query}`;
}

export function readScript(url: string): Script {
  const { searchParams: query } = new URL(url);
  const number = (name: string, or: number): number => Number(query.get(name) ?? or);
  return {
    url,
    does: (query.get('does') ?? undefined) as Deed | undefined,
    code: (query.get('code') ?? undefined) as ErrorCode | undefined,
    once: query.get('once') ?? undefined,
    afterMs: number('afterMs', 300),
    openMs: number('openMs', 5),
    fps: number('fps', 25),
    width: number('width', 32),
    height: number('height', 18),
    fragmentBytes: number('fragmentBytes', 500),
  };
}
