import { CAMERA_NAME, PUBLISHER_NAME, READER_NAME } from './innocents.ts';

/** `GET /api/performance/backpressure`, as far as it tells who is charged for what. */
interface LedgerDocument {
  readonly fences?: {
    /** All bounds of memory together. */
    readonly planned_bytes: number;
    readonly clients: readonly {
      readonly lane: string;
      readonly client_id: string;
      /** By kind. */
      readonly bytes: Readonly<Record<string, number>>;
    }[];
  };
}

const INNOCENTS: readonly string[] = [CAMERA_NAME, PUBLISHER_NAME, READER_NAME];
/** What the server itself has, and what clients that have gone have left to it. */
const SERVER_LANE = 'server';

/** Bytes that clients beside the innocents are still charged for; undefined: the server does not tell. */
export function chargedBytes(document: unknown): number | undefined {
  return (document as LedgerDocument | undefined)?.fences?.clients
    .filter(({ lane, client_id: id }) => lane !== SERVER_LANE && !INNOCENTS.includes(id))
    .reduce((total, { bytes }) => total + Object.values(bytes).reduce((sum, n) => sum + n, 0), 0);
}

/** The sum of all bounds, bytes; undefined: the server does not tell. */
export function publishedBoundBytes(document: unknown): number | undefined {
  return (document as LedgerDocument | undefined)?.fences?.planned_bytes;
}
