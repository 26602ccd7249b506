import type { GapCause } from '../../protocol/cameras.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import type { ViewCounts } from './view.ts';

/** Of views, those that have ended included. */
export interface CamerasCounts extends ViewCounts {
  /** Views that were opened. */
  readonly opened: number;
  /** Gaps that clients were told, by cause. */
  readonly gaps: Readonly<Record<GapCause, number>>;
  /** Handed to sockets, without what WebSockets add. */
  readonly sentBytes: number;
}

export const NO_CAMERAS_COUNTS: CamerasCounts = {
  raw: NO_COUNTS,
  annotated: NO_COUNTS,
  results: NO_COUNTS,
  opened: 0,
  gaps: { behind: 0, overflow: 0, source: 0 },
  sentBytes: 0,
};

export function addViewCounts(a: ViewCounts, b: ViewCounts): ViewCounts {
  return {
    raw: addCounts(a.raw, b.raw),
    annotated: addCounts(a.annotated, b.annotated),
    results: addCounts(a.results, b.results),
  };
}

export function addCamerasCounts(a: CamerasCounts, b: CamerasCounts): CamerasCounts {
  const { behind, overflow, source } = a.gaps;
  return {
    ...addViewCounts(a, b),
    opened: a.opened + b.opened,
    gaps: { behind: behind + b.gaps.behind, overflow: overflow + b.gaps.overflow, source: source + b.gaps.source },
    sentBytes: a.sentBytes + b.sentBytes,
  };
}
