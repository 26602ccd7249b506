/** A place outside this process's memory where fragments are kept for longer: Redis, or the disk. It may be slow, full or gone at any time. */
export interface FarTier {
  readonly name: FarTierName;
  /** undefined: it is not there, or not now. Never throws, and takes no longer than its own time-out. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** It is put there as far as there is room for what waits, which `report` tells. */
  put(key: string, bytes: Uint8Array): void;
  /** To be called now and then: what is too old goes. */
  sweep(): void;
  report(): FarTierReport;
  /** What waits is given up. Idempotent. */
  close(): Promise<void>;
}

export const FAR_TIERS = ['redis', 'disk'] as const;
export type FarTierName = (typeof FAR_TIERS)[number];

/** At every moment: offered = kept + dropped (by cause) + waiting. */
export interface FarTierReport {
  /** `failing`: it is tried again by itself. */
  readonly state: 'working' | 'failing';
  /** Why it fails. */
  readonly reason: string | undefined;
  readonly entries: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly offered: number;
  readonly kept: number;
  readonly dropped: Readonly<Record<DropCause, number>>;
  readonly waiting: number;
  /** Of what was there: damaged, or another's. */
  readonly damaged: number;
  /** Questions that had no answer in time, or none at all. */
  readonly failures: number;
}

/** `queue`: too much waited. `failed`: it could not be written. `off`: the tier was failing. */
export type DropCause = 'queue' | 'failed' | 'off';

export const NO_DROPS: Readonly<Record<DropCause, number>> = { queue: 0, failed: 0, off: 0 };
