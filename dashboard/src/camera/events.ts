import type { CameraGap, CameraStateFields } from 'sightline/client/cameras';
import { capitalised, markOf, moodOf, type Mood } from '../fleet/words.ts';

/** What has happened to a camera, the newest first. Pure. */

const KEPT_MAX = 100;

export interface CameraEvent {
  readonly timeMs: number;
  readonly mood: Mood;
  readonly text: string;
}

/** Gaps of one cause that follow one another within this are one event, ms. */
const SAME_GAP_MS = 10_000;

const GAPS: Readonly<Record<CameraGap['cause'], string>> = {
  behind: 'left out: this page, or the path to it, was too slow',
  overflow: 'left out: more had gathered than the server keeps',
  source: 'lost on the way from the camera',
  connection: 'missed while there was no connection to the server',
};
/** Of frames that are converted on the server. */
const NOT_CONVERTED = 'not converted: lost or damaged, or the server had no time for them';

export class EventLog {
  readonly #events: CameraEvent[] = [];
  #state: CameraStateFields | undefined;
  #gap: { readonly event: CameraEvent; readonly why: string; readonly count: number | undefined } | undefined;

  get events(): readonly CameraEvent[] {
    return this.#events;
  }

  /** True: there is something new. */
  state(state: CameraStateFields): boolean {
    const before = this.#state;
    this.#state = state;
    const isNew = before?.state !== state.state || before.since !== state.since;
    if (isNew) this.add({ timeMs: state.since, mood: moodOf(state), text: sentenceOf(state) });
    const { condition, since } = state.picture;
    const had = before && markOf(before);
    const mark = markOf(state);
    const isOther = mark !== had;
    if (isOther && mark !== undefined) this.add({ timeMs: since, mood: 'busy', text: mark });
    if (isOther && mark === undefined && condition === 'ok') {
      this.add({ timeMs: since, mood: 'live', text: 'Picture as it should be again' });
    }
    return isNew || isOther;
  }

  gap({ channel, count: added, cause }: CameraGap, timeMs: number, isConverted = false): void {
    // Results that are left out are no loss to whoever watches: newer ones come.
    if (channel === 'results') return;
    const why = isConverted && cause === 'source' ? NOT_CONVERTED : GAPS[cause];
    const before = this.#gap;
    const isSame =
      before?.why === why && before.event === this.#events[0] && timeMs - before.event.timeMs < SAME_GAP_MS;
    if (isSame) this.#events.shift();
    const count = !isSame
      ? added
      : added === undefined || before.count === undefined
        ? undefined
        : added + before.count;
    const what = count === undefined ? 'Frames' : count === 1 ? '1 frame' : `${count} frames`;
    const event: CameraEvent = { timeMs: isSame ? before.event.timeMs : timeMs, mood: 'busy', text: `${what} ${why}` };
    this.#gap = { event, why, count };
    this.add(event);
  }

  add(event: CameraEvent): void {
    this.#events.unshift(event);
    if (this.#events.length > KEPT_MAX) this.#events.pop();
  }
}

function sentenceOf({ state, reason }: CameraStateFields): string {
  const why = reason ? `: ${reason.message}` : '';
  if (state === 'backing_off') return `The try failed${why}`;
  if (state === 'failed') return `Failed, and not tried again${why}`;
  if (state === 'off') return 'Turned off';
  if (state === 'waiting') return 'Waiting for a publisher';
  return capitalised(state) + (state === 'stalled' ? why : '');
}
