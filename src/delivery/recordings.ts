import { wallAheadMs, wallTimeMs, type Clock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineName } from '../base/result.ts';
import { outcomeMessage } from '../protocol/outcome-message.ts';
import { Payload } from '../protocol/payload.ts';
import type { Hub } from '../stream/hub.ts';
import type { Topics } from '../stream/topics.ts';
import { Recorder, RECORDING_DEFAULTS, type RecordingSettings, type RecordingStatus } from './recording.ts';

/** A server goes on for days without anybody watching: what fills the disk may be cleared away. */
const SERVER_RECORDING: RecordingSettings = { ...RECORDING_DEFAULTS, retryMs: 10_000 };

export interface RecordingsOptions {
  readonly hub: Hub;
  readonly topics: Topics;
  readonly clock: Clock;
  /** Those that are open now. */
  readonly sessions: () => readonly RecordedSession[];
  /** Told in a line what a person at the terminal wants to know. */
  readonly say: (line: string) => void;
}

/** A video session, by the names of its streams: `<clientId>/frames`, and `<clientId>/objects` and the like. */
export interface RecordedSession {
  readonly clientId: string;
  readonly pipelines: readonly PipelineName[];
}

/** The recordings of a server: each takes in topics and all video sessions. */
export class Recordings {
  readonly #options: RecordingsOptions;
  /** Those that are going on, and those that have failed since the last one was begun. */
  readonly #recorders = new Set<Recorder>();

  constructor(options: RecordingsOptions) {
    this.#options = options;
  }

  /**
   * Records the topics that match, and the pictures and results of all video sessions, those to come included, on one
   * timeline. Ends with `Recorder.finish`, or with the server; where the disk is full it waits for room, unless the settings
   * say otherwise. Errors: OUTPUT_FAILED, FILTER_BAD.
   */
  async start(path: string, filter = '#', settings: RecordingSettings = SERVER_RECORDING): Promise<Recorder> {
    const { clock, topics, sessions, say } = this.#options;
    const retryS = settings.retryMs / 1000;
    const recorder = await Recorder.start({
      path,
      clock,
      settings,
      onFailed: ({ message }) => {
        say(`the recording has ended: ${message}; ${recorder.status.lost} messages are lost`);
      },
      onInterrupted: ({ message }) => {
        say(`the recording is interrupted: ${message}; it is tried again every ${retryS} s`);
      },
      onResumed: (file) => say(`the recording goes on in ${file}; ${recorder.status.lost} messages are lost`),
    });
    // Those that have failed stay for `/health` until somebody has begun another.
    for (const earlier of this.#recorders) if (earlier.failure) this.#recorders.delete(earlier);
    this.#recorders.add(recorder);
    void recorder.ended.then(() => recorder.failure === undefined && this.#recorders.delete(recorder));
    recorder.followTopics(topics, filter);
    for (const session of sessions()) this.#followVideo(recorder, session);
    return recorder;
  }

  /** A session has begun, and its streams are there. */
  follow(session: RecordedSession): void {
    for (const recorder of this.#recorders) this.#followVideo(recorder, session);
  }

  status(): RecordingStatus[] {
    return [...this.#recorders].map(({ status }) => status);
  }

  /** Completes every file. One that has failed has said so. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#recorders].map((recorder) => recorder.finish()));
  }

  #followVideo(recorder: Recorder, { clientId, pipelines }: RecordedSession): void {
    const { hub, clock } = this.#options;
    const frames = hub.get<Picture>(`${clientId}/frames`);
    if (frames) {
      recorder.follow(frames, `video/${clientId}/frames`, ({ captureTimeMs, data }) => {
        return { timeMs: wallTimeMs(clock, captureTimeMs), payload: Payload.bytes(data.bytes) };
      });
    }
    for (const pipeline of pipelines) {
      const outcomes = hub.get<FrameOutcome>(`${clientId}/${pipeline}`);
      if (!outcomes) continue;
      recorder.follow(outcomes, `video/${clientId}/${pipeline}`, (sample) => {
        if (sample.data.kind === 'dropped') return undefined;
        const aheadMs = wallAheadMs(clock);
        const result = outcomeMessage(sample, clientId, clock.now(), aheadMs);
        return { timeMs: sample.captureTimeMs + aheadMs, payload: Payload.of(result) };
      });
    }
  }
}
