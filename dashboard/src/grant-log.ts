import type { GrantFields } from 'sightline/client';

export type GrantReason = GrantFields['reason'];

/** The visible part of a grant. */
export type GrantFigures = Pick<GrantFields, 'rate_fps' | 'width' | 'height' | 'quality'>;

/** A change of the grant, or several of the same kind that followed each other closely. */
export interface GrantChange {
  /** Unix ms; when it began. */
  readonly timeMs: number;
  readonly reason: GrantReason;
  /** Undefined: there was none before. */
  readonly from: GrantFigures | undefined;
  readonly to: GrantFigures;
}

const CHANGES_MAX = 5;
/** Grants move in small steps: a step that follows so closely, and for the same reason, belongs to the one before … */
const PAUSE_MS = 3_000;
/** … unless it takes back more than this factor. */
const TURN = 1.5;
/** Smaller differences are normal movement of the loop. */
const RATE_NEWS = 0.1;
const QUALITY_NEWS = 5;

/** The last changes of a grant, newest first. Pure. */
export class GrantLog {
  #changes: GrantChange[] = [];
  #lastMs = 0;

  get changes(): readonly GrantChange[] {
    return this.#changes;
  }

  /** Another session: earlier grants no longer matter. */
  begin(): void {
    this.#changes = [];
  }

  add(timeMs: number, grant: GrantFields): void {
    const { rate_fps, width, height, quality, reason } = grant;
    const to: GrantFigures = { rate_fps, width, height, quality };
    const [last] = this.#changes;
    const goesOn =
      last?.from !== undefined &&
      last.reason === reason &&
      timeMs - this.#lastMs <= PAUSE_MS &&
      !turnsBack(weightOf(last.from), weightOf(last.to), weightOf(to));
    if (last && !goesOn && !isNews(last.to, to)) return;
    this.#lastMs = timeMs;
    // Small steps that were taken back are no change.
    if (goesOn && !isNews(last.from, to)) this.#changes = this.#changes.slice(1);
    else if (goesOn) this.#changes = [{ ...last, to }, ...this.#changes.slice(1)];
    else this.#changes = [{ timeMs, reason, from: last?.to, to }, ...this.#changes].slice(0, CHANGES_MAX);
  }
}

/** Is the difference worth a line? */
function isNews(a: GrantFigures, b: GrantFigures): boolean {
  const rate = b.rate_fps / a.rate_fps;
  return (
    rate < 1 - RATE_NEWS ||
    rate > 1 + RATE_NEWS ||
    a.width !== b.width ||
    Math.abs(a.quality - b.quality) >= QUALITY_NEWS
  );
}

/** The value of a grant: bytes a second, roughly. */
function weightOf({ rate_fps, width, height, quality }: GrantFigures): number {
  return rate_fps * width * height * quality;
}

function turnsBack(before: number, now: number, next: number): boolean {
  return now < before ? next > now * TURN : next < now / TURN;
}

export const REASONS: Readonly<Record<GrantReason, string>> = {
  start: 'First grant',
  fixed: 'The server’s settings fix it',
  pin: 'You fixed it',
  link: 'The path to the server is slow',
  compute: 'The server is busy',
  client: 'This page falls behind',
  ladder: 'A higher level must first prove itself',
  settings: 'Nothing limits it',
};

/** Why the grant has risen, where that is another sentence than its bound. */
const RISES: Partial<Record<GrantReason, string>> = {
  link: 'The path to the server carries more',
  compute: 'The server has more room',
  client: 'This page keeps up again',
  ladder: 'A higher level has proved itself',
};

/** The same for less. */
const FALLS: Partial<Record<GrantReason, string>> = {
  ladder: 'A lower level holds the latency',
  settings: 'The settings allow no more',
};

/** Why a grant has changed: of a rise that it rose, not what still bounds it. */
export function reasonText({ reason, from, to }: GrantChange): string {
  if (from === undefined) return REASONS.start;
  const falls = to.rate_fps < from.rate_fps || to.width < from.width || to.quality < from.quality;
  if (reason === 'link' && falls && to.rate_fps > from.rate_fps)
    return 'The path to the server is slow, smaller pictures pass it more often';
  const isRise = !falls || weightOf(to) > weightOf(from);
  return (isRise ? RISES : FALLS)[reason] ?? REASONS[reason];
}

/** `25 → 14 frames/s, 640 → 512 px, JPEG 75 → 60`: the changed parts, or all of a first grant. */
export function changeText({ from, to }: GrantChange): string {
  const before = (figure: string, value: string) => (from === undefined || figure === value ? '' : `${figure} → `);
  const figures: [string, string, (value: string) => string][] = [
    [rateText((from ?? to).rate_fps), rateText(to.rate_fps), (text) => `${text} frames/s`],
    [String((from ?? to).width), String(to.width), (text) => `${text} px`],
    [String((from ?? to).quality), String(to.quality), (text) => `JPEG ${text}`],
  ];
  return figures
    .filter(([old, value]) => from === undefined || old !== value)
    .map(([old, value, tell]) => tell(`${before(old, value)}${value}`))
    .join(', ');
}

/** Fractions where they matter. */
export function rateText(fps: number): string {
  return fps < 9.95 ? String(Number(fps.toFixed(1))) : fps.toFixed(0);
}
