import { readRecordings, type Recordings } from '../fleet/api.ts';
import { bytesText, capitalised } from '../fleet/words.ts';
import { element } from '../view.ts';
import { barsOf, marksOf, momentAt, type Window } from './time-line.ts';

/** What was recorded of the camera: a line of time, and what was there at a moment of it. */

const HOUR_MS = 3_600_000;
const CLIP_MS = 120_000;
const WORDS: Readonly<Record<Recordings['state'], string>> = {
  off: 'Not recorded',
  writing: 'Recording',
  waiting: 'Waiting for an event',
  masked: 'Not recorded: it has masks',
  failed: 'Cannot be recorded',
};

const hours = element<HTMLSelectElement>('recorded-hours');
const place = element<HTMLInputElement>('recorded-place');
const bars = element('recorded-bars');
const marks = element('recorded-marks');
const moment = element('recorded-moment');
const play = element<HTMLButtonElement>('recorded-play');
const video = element<HTMLVideoElement>('recorded-video');

export class RecordingsView {
  readonly #id: string;
  #window: Window = { fromMs: 0, toMs: 1 };
  #known: Recordings | undefined;
  #isHidden = false;

  constructor(id: string) {
    this.#id = id;
    hours.addEventListener('change', () => void this.look());
    place.addEventListener('input', () => this.#showMoment());
    play.addEventListener('click', () => this.#play());
    video.addEventListener('error', () => void this.#tellFault());
  }

  /** What was recorded without masks is not for this user. */
  set isHidden(isHidden: boolean) {
    this.#isHidden = isHidden;
  }

  /** Shows what there is now. Errors: ApiError. */
  async look(): Promise<void> {
    const toMs = Date.now();
    this.#window = { fromMs: toMs - Number(hours.value) * HOUR_MS, toMs };
    const known = await readRecordings(this.#id, this.#window);
    this.#known = known;
    element('recorded').hidden = known.mode === 'off' && known.files === 0;
    const kept = known.files === 0 ? '' : `, ${bytesText(known.bytes)} since ${timeText(known.oldest!)}`;
    const why = known.reason === null ? '' : `: ${known.reason.message}`;
    element('recorded-state').textContent = `${WORDS[known.state] ?? capitalised(known.state)}${kept}${why}`;
    element('recorded-state').dataset['state'] = known.state;
    bars.replaceChildren(
      ...barsOf(known.spans, this.#window).map(({ left, width }) => {
        const bar = document.createElement('i');
        bar.style.left = `${100 * left}%`;
        bar.style.width = `${100 * width}%`;
        return bar;
      }),
    );
    marks.replaceChildren(
      ...marksOf(this.#window).map((timeMs) => {
        const mark = document.createElement('span');
        mark.style.left = `${(100 * (timeMs - this.#window.fromMs)) / (toMs - this.#window.fromMs)}%`;
        mark.textContent = new Date(timeMs).toTimeString().slice(0, 5);
        return mark;
      }),
    );
    this.#showMoment();
  }

  get #moment(): number | undefined {
    return momentAt(Number(place.value) / Number(place.max), this.#window, this.#known?.spans ?? []);
  }

  #showMoment(): void {
    const atMs = this.#moment;
    const text = atMs === undefined ? 'Nothing of this time is kept' : timeText(atMs);
    moment.textContent = text;
    place.setAttribute('aria-valuetext', text);
    play.disabled = atMs === undefined;
    for (const [name, file, more] of [
      ['recorded-clip', 'clip.mp4', ''],
      ['recorded-annotated', 'clip.mp4', '&channel=annotated'],
      ['recorded-results', 'clip.jsonl', ''],
    ] as const) {
      const link = element<HTMLAnchorElement>(name);
      // Of a camera with masks the one that is drawn on is for everybody who sees this page.
      link.hidden = atMs === undefined || (more === '' && this.#isHidden);
      if (atMs !== undefined) link.href = this.#address(file, atMs) + more;
    }
  }

  #play(): void {
    const atMs = this.#moment;
    if (atMs === undefined) return;
    element('recorded-fault').textContent = '';
    video.hidden = false;
    video.src = this.#address('clip.mp4', atMs) + (this.#isHidden ? '&channel=annotated' : '');
    void video.play().catch(() => undefined);
  }

  /** The element says only that it could not. */
  async #tellFault(): Promise<void> {
    if (!video.src) return;
    const answered = await fetch(video.src, { method: 'HEAD' }).catch(() => undefined);
    const text = answered?.ok
      ? 'This browser cannot play the codec of this camera: save the clip.'
      : answered?.status === 503
        ? 'The server draws on as many clips as it may: try again later.'
        : 'It is not kept any more.';
    element('recorded-fault').textContent = text;
    video.hidden = true;
  }

  #address(file: 'clip.mp4' | 'clip.jsonl', fromMs: number): string {
    const from = Math.floor(fromMs);
    return `recordings/${this.#id}/${file}?from=${from}&to=${from + CLIP_MS}`;
  }
}

function timeText(timeMs: number): string {
  const at = new Date(timeMs);
  const isToday = at.toDateString() === new Date().toDateString();
  const time = at.toTimeString().slice(0, 8);
  return isToday ? time : `${at.toLocaleDateString('en', { month: 'short', day: 'numeric' })}, ${time}`;
}
