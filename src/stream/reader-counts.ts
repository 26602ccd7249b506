import type { ReaderCounts } from './reader.ts';

export const NO_COUNTS: ReaderCounts = {
  published: 0,
  delivered: 0,
  conflated: 0,
  dropped: { overflow: 0, closed: 0 },
  expired: 0,
  queued: 0,
};

/** The accounts of several readers as one. */
export function addCounts(a: ReaderCounts, b: ReaderCounts): ReaderCounts {
  const dropped: Record<string, number> = { ...a.dropped };
  for (const [cause, count] of Object.entries(b.dropped)) dropped[cause] = (dropped[cause] ?? 0) + count;
  return {
    published: a.published + b.published,
    delivered: a.delivered + b.delivered,
    conflated: a.conflated + b.conflated,
    dropped,
    expired: a.expired + b.expired,
    queued: a.queued + b.queued,
  };
}
