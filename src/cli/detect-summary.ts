import type { Clock } from '../base/clock.ts';
import { FrameLatencies, OWN_STAGES } from '../observe/histogram.ts';
import type { PipelineName } from '../base/result.ts';
import type { ResultMessage } from '../protocol/video.ts';

/** The findings of a run of `detect`, counted as it goes: memory does not grow with the length of a video. */
export class DetectSummary {
  readonly #clock: Clock;
  readonly #latencies: FrameLatencies;
  readonly #labels = new Map<string, { count: number; frames: number; best: number }>();
  readonly #beganMs: number;
  #frames = 0;
  #detections = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#latencies = new FrameLatencies(clock);
    this.#beganMs = clock.now();
  }

  /** `isFirst`: it is the first result of its frame, of several pipelines. */
  add(message: ResultMessage<PipelineName>, isFirst = true): void {
    const found = foundIn(message);
    if (isFirst) this.#frames += 1;
    this.#detections += found.length;
    this.#latencies.frame('video', message.stages_ms);
    for (const { label, score } of found) {
      const seen = this.#labels.get(label) ?? { count: 0, frames: 0, best: 0 };
      seen.count += 1;
      seen.best = Math.max(seen.best, score);
      this.#labels.set(label, seen);
    }
    for (const label of new Set(found.map((one) => one.label))) this.#labels.get(label)!.frames += 1;
  }

  /** For people, one line an element. */
  lines(): string[] {
    const elapsedS = Math.max(1e-3, (this.#clock.now() - this.#beganMs) / 1000);
    const speed = `${number(this.#frames)} in ${elapsedS.toFixed(1)} s, ${(this.#frames / elapsedS).toFixed(1)} frames/s`;
    const { stages } = this.#latencies.sinceStart();
    const median = [...OWN_STAGES.filter((stage) => stage !== 'capture'), 'total' as const].map(
      (stage) => `${stage} ${stages[stage].p50_ms?.toFixed(1) ?? '-'}`,
    );
    return [
      row('frames', speed),
      row('median ms', median.join('  ')),
      row('detections', this.#detections === 0 ? 'none' : number(this.#detections)),
      ...this.#labelLines(),
    ];
  }

  /** The same in one line. */
  line(): string {
    const found = this.#byCount().map(([label, { count }]) => `${label} ${number(count)}`);
    const frames = `${number(this.#frames)} ${this.#frames === 1 ? 'frame' : 'frames'}`;
    return `${frames}  ${found.length === 0 ? 'nothing found' : found.join(', ')}`;
  }

  #byCount() {
    return [...this.#labels].toSorted(([, a], [, b]) => b.count - a.count);
  }

  #labelLines(): string[] {
    const labels = this.#byCount();
    const nameWidth = Math.max(0, ...labels.map(([label]) => label.length));
    const countWidth = Math.max(0, ...labels.map(([, { count }]) => number(count).length));
    return labels.map(([label, { count, frames, best }]) => {
      const where = `in ${number(frames)} ${frames === 1 ? 'frame' : 'frames'}, best ${Math.round(best * 100)} %`;
      return `  ${label.padEnd(nameWidth)}  ${number(count).padStart(countWidth)}  ${where}`;
    });
  }
}

function foundIn(message: ResultMessage<PipelineName>): readonly { readonly label: string; readonly score: number }[] {
  if (message.pipeline === 'objects') return message.detections;
  if (message.pipeline === 'hands') {
    return message.hands.map(({ handedness, score }) => ({ label: `${handedness} hand`, score }));
  }
  return [];
}

/** One line of a summary: what, then the value, in two columns. */
export function row(name: string, value: string): string {
  return `${name.padEnd(12)}${value}`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
