import type { CameraStateFields, CameraStreamFields } from 'sightline/client/cameras';

/** Cameras by the server's REST API, as far as the pages use it. Addresses are relative: the pages may be under a path of a proxy. */

export const CLASSES = ['critical', 'high', 'normal', 'low'] as const;
export type CameraClass = (typeof CLASSES)[number];

export interface Camera extends CameraStateFields {
  readonly id: string;
  readonly url: string;
  readonly class: CameraClass;
  readonly pipelines: readonly string[];
  readonly process: number | null;
  readonly rates: {
    readonly received_fps: number;
    readonly received_bits_per_s: number;
    readonly decoded_fps: number;
    readonly pictures_fps: number;
    readonly granted_fps: number | null;
  };
  readonly frames: { readonly received: number; readonly damaged: number };
  readonly connections: number;
  readonly viewers: number;
  /** Parts of it are black, for whoever may not see it without that. */
  readonly masked: boolean;
}

export interface CameraSettings {
  readonly url: string;
  readonly enabled: boolean;
  readonly class: CameraClass;
  readonly transport: 'tcp' | 'udp';
  readonly pipelines: readonly string[];
  readonly masks: readonly string[];
  readonly record: 'off' | 'continuous' | 'events';
}

export interface CameraDetail extends Camera {
  readonly settings: CameraSettings;
}

export interface CameraList {
  readonly cameras: readonly Camera[];
  /** The server's, Unix ms; whole seconds. undefined: it did not say. */
  readonly timeMs: number | undefined;
  /** More will be there soon. */
  readonly isPreparing: boolean;
}

export interface CameraTest {
  readonly ok: boolean;
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly stream: Omit<CameraStreamFields, 'epoch'> | null;
  readonly first_frame_ms: number | null;
  readonly rates: { readonly received_fps: number; readonly received_bits_per_s: number } | null;
  readonly still: { readonly width: number; readonly height: number; readonly jpeg: string } | null;
}

export interface Recordings {
  readonly mode: CameraSettings['record'];
  readonly state: 'off' | 'writing' | 'waiting' | 'masked' | 'failed';
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly files: number;
  readonly bytes: number;
  /** Unix ms. */
  readonly oldest: number | null;
  readonly spans: readonly { readonly from: number; readonly to: number }[];
}

export interface TableAnswer {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: readonly string[];
}

/** In the server's words. `status` 0: it did not answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const LIST_MAX = 1_000;

/** The server has no more cameras than fit into one answer. */
export async function listCameras(): Promise<CameraList> {
  const { body, response } = await ask<{ cameras: Camera[]; preparing: boolean }>(`api/cameras?limit=${LIST_MAX}`);
  const date = Date.parse(response.headers.get('date') ?? '');
  return { cameras: body.cameras, timeMs: Number.isNaN(date) ? undefined : date, isPreparing: body.preparing };
}

export async function readCamera(id: string): Promise<CameraDetail> {
  return (await ask<CameraDetail>(pathOf(id))).body;
}

/** What was recorded of it from `fromMs` up to `toMs`, Unix ms. */
export async function readRecordings(
  id: string,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): Promise<Recordings> {
  return (await ask<Recordings>(`${pathOf(id)}/recordings?from=${Math.floor(fromMs)}&to=${Math.ceil(toMs)}`)).body;
}

/** What the server keeps of fragments, for further viewers. */
export interface FragmentCache {
  readonly requests: { readonly asked: number };
  readonly hit_ratio: number | null;
  readonly memory: Kept;
  readonly tiers: readonly (Kept & {
    readonly name: 'redis' | 'disk';
    readonly state: 'working' | 'failing';
    readonly reason: string | null;
  })[];
  readonly ahead: { readonly hits: number };
}

interface Kept {
  readonly fragments: number;
  readonly bytes: number;
}

export async function readCache(): Promise<FragmentCache> {
  return (await ask<FragmentCache>('api/cache')).body;
}

/** Adds it, or changes it as a whole. Without `url` the address of a camera that there is stays. */
export async function putCamera(id: string, settings: Partial<CameraSettings>): Promise<void> {
  await ask(pathOf(id), { method: 'PUT', ...json(settings) });
}

export async function removeCamera(id: string): Promise<void> {
  await ask(pathOf(id), { method: 'DELETE' });
}

/** Takes some seconds. */
export async function testCamera(
  settings: Pick<CameraSettings, 'url' | 'transport'>,
  signal: AbortSignal,
): Promise<CameraTest> {
  return (await ask<CameraTest>('api/cameras/test', { method: 'POST', ...json(settings), signal })).body;
}

/** All cameras of a table, or none. */
export async function addTable(csv: string): Promise<TableAnswer> {
  const request = { method: 'POST', headers: { 'Content-Type': 'text/csv' }, body: csv };
  return (await ask<TableAnswer>('api/cameras', request)).body;
}

function pathOf(id: string): string {
  return `api/cameras/${encodeURIComponent(id)}`;
}

function json(body: unknown): RequestInit {
  return { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}

async function ask<T>(path: string, request?: RequestInit): Promise<{ body: T; response: Response }> {
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch (thrown) {
    if (request?.signal?.aborted) throw thrown;
    throw new ApiError(0, 'CONNECTION_FAILED', 'the server does not answer');
  }
  const body = (await response.json().catch(() => undefined)) as
    | (T & { readonly error?: { readonly code: string; readonly message: string } })
    | undefined;
  if (response.ok && body !== undefined) return { body, response };
  const { code = 'UNKNOWN', message = `the server answers with status ${response.status}` } = body?.error ?? {};
  throw new ApiError(response.status, code, message);
}
