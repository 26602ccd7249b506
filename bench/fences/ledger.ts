/** `GET /api/performance/backpressure`, as far as it tells who is charged for what. */
interface LedgerDocument {
  readonly ledger?: {
    /** Of all clients and kinds, bytes. */
    readonly bounded_bytes?: number;
    readonly clients?: readonly { readonly client_id: string; readonly bytes: number }[];
  };
}

/** Bytes that clients whose names begin so are still charged for; undefined: the server does not tell. */
export function chargedBytes(document: unknown, prefix: string): number | undefined {
  const clients = (document as LedgerDocument | undefined)?.ledger?.clients;
  return clients?.filter(({ client_id: id }) => id.startsWith(prefix)).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The sum of all bounds, bytes; undefined: the server does not tell. */
export function publishedBoundBytes(document: unknown): number | undefined {
  return (document as LedgerDocument | undefined)?.ledger?.bounded_bytes;
}
