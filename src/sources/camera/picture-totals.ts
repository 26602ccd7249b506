import type { FrameDropCause } from '../../base/frame.ts';
import type { PipelineAccounts } from './picture-feed.ts';

/** What became of the pictures of all cameras, by pipeline. Pure. */

interface PipelineTotals {
  pictures: number;
  results: number;
  errors: number;
  readonly dropped: Record<FrameDropCause, number>;
  queued: number;
  inFlight: number;
}

export interface PictureTotals {
  /** That came. */
  pictures: number;
  /** While there was no pipeline for them. */
  unused: number;
  readonly pipelines: Map<string, PipelineTotals>;
}

export function noPictures(): PictureTotals {
  return { pictures: 0, unused: 0, pipelines: new Map() };
}

interface Some {
  readonly pictures: number;
  readonly unused: number;
  readonly pipelines: ReadonlyMap<string, PipelineAccounts>;
}

export function addPictures(to: PictureTotals, more: Some): void {
  to.pictures += more.pictures;
  to.unused += more.unused;
  for (const [name, one] of more.pipelines) {
    const sum = to.pipelines.get(name);
    if (!sum) {
      to.pipelines.set(name, { ...one, dropped: { ...one.dropped } });
      continue;
    }
    for (const key of ['pictures', 'results', 'errors', 'queued', 'inFlight'] as const) sum[key] += one[key];
    for (const cause of Object.keys(one.dropped) as FrameDropCause[]) sum.dropped[cause] += one.dropped[cause];
  }
}
