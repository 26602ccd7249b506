/** How full a queue is, and what to do about it (T5). */
const WARN_AT = 0.7;
const DROP_AT = 0.9;
/** Below this a queue that has caused a warning counts as well again. */
const CALM_AT = 0.5;

export interface QueueVerdict {
  /** Tell the reader now. */
  readonly warns: boolean;
  /** It was reported, and the queue has not calmed down since. */
  readonly warned: boolean;
  /** Bytes that have to go, the lowest class first. */
  readonly excessBytes: number;
}

/** From `DROP_AT` on everything above `WARN_AT` goes, so that not every further message causes another loss. Pure. */
export function judgeQueue(queuedBytes: number, bytesMax: number, warned: boolean): QueueVerdict {
  const level = queuedBytes / bytesMax;
  const isHigh = level > WARN_AT;
  return {
    warns: isHigh && !warned,
    warned: isHigh || (warned && level > CALM_AT),
    excessBytes: level > DROP_AT ? Math.ceil(queuedBytes - WARN_AT * bytesMax) : 0,
  };
}
