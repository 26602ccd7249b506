/** Priority of a sample: which one gives way first. The numbers go over the wire. */
export const Priority = { low: 0, normal: 1, high: 2, critical: 3 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

export type PriorityClass = keyof typeof Priority;

export function classOf(priority: Priority): PriorityClass {
  return (Object.keys(Priority) as PriorityClass[]).find((name) => Priority[name] === priority)!;
}

/** One element of a stream. Immutable once published; many readers hold the same one. */
export interface Sample<T> {
  /** Place in the stream, from 0, without gaps. */
  readonly position: number;
  /** The publisher's own sequence number; rises, may have gaps. */
  readonly seq: number;
  /** When the event of the sample happened; Unix milliseconds. */
  readonly captureTimeMs: number;
  /** When the sample entered the stream; Unix milliseconds. */
  readonly publishedTimeMs: number;
  readonly priority: Priority;
  /** After this moment (Unix milliseconds) the sample is of no use; `Infinity` for never. */
  readonly deadlineMs: number;
  readonly data: T;
}
