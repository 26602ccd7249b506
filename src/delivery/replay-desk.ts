import { z } from 'zod';
import { Payload } from '../protocol/payload.ts';
import type { Topics } from '../stream/topics.ts';
import { REPLAY_CONTROL_TOPIC, REPLAY_SPEED_MAX, REPLAY_SPEED_MIN, REPLAY_STATE_TOPIC } from './replay.ts';
import type { Replay, ReplayState } from './replay.ts';

const STATE_INTERVAL_MS = 500;

/** A message on `replay/control`: every field is optional; the given ones are set. */
const control = z.strictObject({
  paused: z.boolean().optional(),
  speed: z.number().min(REPLAY_SPEED_MIN).max(REPLAY_SPEED_MAX).optional(),
  position_s: z.number().min(0).optional(),
  loop: z.boolean().optional(),
});

/** Lets every client of the server control a replay, and see its position, by two topics. */
export class ReplayDesk implements Disposable {
  readonly #replay: Replay;
  readonly #topics: Topics;
  readonly #unwatch: () => void;
  readonly #timer: NodeJS.Timeout;
  #refused = 0;
  #told: ReplayState['state'] | undefined;
  /** Of the topic as it is now; a reader of an earlier one has closed with it. */
  #stopReading: () => void = () => {};

  constructor(replay: Replay, topics: Topics) {
    this.#replay = replay;
    this.#topics = topics;
    this.#unwatch = topics.watch(REPLAY_CONTROL_TOPIC, ({ stream }) => {
      const reader = stream.subscribe({ name: 'replay', contract: { kind: 'all' }, onReady: () => takeAll() });
      this.#stopReading = () => reader.close();
      const takeAll = (): void => {
        for (let sample = reader.next(); sample; sample = reader.next()) this.#obey(sample.data.payload.value());
      };
    });
    this.#timer = setInterval(() => {
      const { state } = replay.state;
      // It ends and fails by itself.
      if (state === 'playing' || state !== this.#told) this.#tell(null);
    }, STATE_INTERVAL_MS);
    this.#timer.unref();
    this.#tell(null);
  }

  /** Messages on `replay/control` that made no sense. */
  get refused(): number {
    return this.#refused;
  }

  [Symbol.dispose](): void {
    this.#unwatch();
    this.#stopReading();
    clearInterval(this.#timer);
  }

  #obey(value: unknown): void {
    const parsed = control.safeParse(value);
    if (!parsed.success) {
      this.#refused++;
      const [issue] = parsed.error.issues;
      this.#tell(`"${issue!.path.join('.')}": ${issue!.message}`);
      return;
    }
    const { paused, speed, position_s: positionS, loop } = parsed.data;
    if (loop !== undefined) this.#replay.setLoop(loop);
    if (speed !== undefined) this.#replay.setSpeed(speed);
    if (positionS !== undefined) this.#replay.seek(positionS * 1000);
    if (paused === true) this.#replay.pause();
    if (paused === false) this.#replay.play();
    this.#tell(null);
  }

  #tell(error: string | null): void {
    const state = this.#replay.state;
    this.#told = state.state;
    this.#topics.publish(REPLAY_STATE_TOPIC, { payload: Payload.of({ ...state, error: error ?? state.error }) });
  }
}
