import { wallAheadMs, wallTimeMs, type Clock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineName } from '../base/result.ts';
import type { Log } from '../log/log.ts';
import { outcomeMessage } from '../protocol/outcome-message.ts';
import { Payload } from '../protocol/payload.ts';
import { checkFilter } from '../protocol/topic.ts';
import type { Hub } from '../stream/hub.ts';
import type { RecordingStatus } from '../observe/metrics.ts';
import type { Topics } from '../stream/topics.ts';
import { recordCamera, type CameraRecording, type RecordedCameras } from './camera-recording.ts';
import { Recorder, RECORDING_DEFAULTS, type RecordingSettings } from './recording.ts';

/** A server runs unattended for days: the disk may get room again. */
const SERVER_RECORDING: RecordingSettings = { ...RECORDING_DEFAULTS, retryMs: 10_000 };

export interface RecordingsOptions {
  readonly hub: Hub;
  readonly topics: Topics;
  readonly clock: Clock;
  /** Those that are open now. */
  readonly sessions: () => readonly RecordedSession[];
  readonly cameras: RecordedCameras;
  /** Recordings have the frames of cameras with masks, too, as they are. */
  readonly takesUnmasked: boolean;
  readonly log: Log;
}

/** A video session, by the names of its streams: `<clientId>/frames`, and `<clientId>/objects` and the like. */
export interface RecordedSession {
  readonly clientId: string;
  readonly pipelines: readonly PipelineName[];
}

/** A recording that has not ended, with the cameras in it. */
interface Running {
  readonly filter: string;
  readonly cameras: Map<string, CameraRecording>;
}

/** The recordings of a server: each records topics and cameras that match its filter, and all video sessions. */
export class Recordings {
  readonly #options: RecordingsOptions;
  readonly #running = new Map<Recorder, Running>();
  readonly #forgetCameras: () => void;
  /** Running ones, and those that have ended since the last one was begun. */
  readonly #recorders = new Set<Recorder>();

  readonly #over = new Set<Recorder>();
  #takesUnmasked: boolean;

  constructor(options: RecordingsOptions) {
    this.#options = options;
    this.#takesUnmasked = options.takesUnmasked;
    this.#forgetCameras = options.cameras.watchAll((id) => {
      for (const [recorder, running] of this.#running) this.#followCamera(recorder, running, id);
    });
  }

  /**
   * Records the topics and cameras that match, and the pictures and results of all video sessions, those to come included, on one
   * timeline. Ends with `Recorder.finish`, or with the server; where the disk is full it waits for room, unless the settings
   * say otherwise. An earlier recording of that name stays: this one gets a number. Errors: OUTPUT_FAILED, FILTER_BAD.
   */
  async start(path: string, filter = '#', settings: RecordingSettings = SERVER_RECORDING): Promise<Recorder> {
    const { clock, topics, sessions, cameras, log } = this.#options;
    checkFilter(filter);
    const recorder = await Recorder.start({
      path,
      clock,
      settings,
      onFailed: ({ code, message }) => {
        log.write('recording_failed', { file: recorder.path, code, reason: message, lost: recorder.status.lost });
      },
      onInterrupted: ({ code, message }) => {
        const retry_s = settings.retryMs / 1000;
        log.write('recording_interrupted', { file: recorder.path, code, reason: message, retry_s });
      },
      onResumed: (file) => log.write('recording_resumed', { file, lost: recorder.status.lost }),
    });
    // Ended ones stay for `/health` until another has begun.
    for (const earlier of this.#over) this.#recorders.delete(earlier);
    this.#over.clear();
    this.#recorders.add(recorder);
    log.write('recording_started', { file: recorder.path, topics: [filter] });
    const running: Running = { filter, cameras: new Map() };
    this.#running.set(recorder, running);
    void this.#untilEnded(recorder, running);
    recorder.followTopics(topics, filter);
    for (const { id } of cameras.all()) this.#followCamera(recorder, running, id);
    for (const session of sessions()) this.#followVideo(recorder, session);
    return recorder;
  }

  async #untilEnded(recorder: Recorder, { cameras }: Running): Promise<void> {
    await recorder.ended;
    this.#running.delete(recorder);
    for (const { end } of cameras.values()) end();
    this.#over.add(recorder);
    if (recorder.failure !== undefined) return;
    const { files, recorded, bytes, lost } = recorder.report();
    this.#options.log.write('recording_ended', { files, messages: recorded, written_bytes: bytes, lost });
  }

  /** A session has begun, and its streams are there. */
  follow(session: RecordedSession): void {
    for (const recorder of this.#recorders) this.#followVideo(recorder, session);
  }

  status(): RecordingStatus[] {
    return [...this.#recorders].map(({ status }) => status);
  }

  /** Completes every file. A failed one has reported it already. */
  async close(): Promise<void> {
    this.#forgetCameras();
    await Promise.allSettled([...this.#recorders].map((recorder) => recorder.finish()));
  }

  configure({ takesUnmasked }: Pick<RecordingsOptions, 'takesUnmasked'>): void {
    this.#takesUnmasked = takesUnmasked;
    for (const { cameras } of this.#running.values()) for (const camera of cameras.values()) camera.follow();
  }

  /** As it is now: it may be there since before, be another one of that id, or be gone. */
  #followCamera(recorder: Recorder, { filter, cameras }: Running, id: string): void {
    const camera = this.#options.cameras.all().find((one) => one.id === id);
    const known = cameras.get(id);
    if (known && known.camera === camera) return known.follow();
    known?.end();
    cameras.delete(id);
    if (!camera) return;
    const { clock, log } = this.#options;
    const takesUnmasked = () => this.#takesUnmasked;
    const onLeftOut = () => log.write('camera_not_recorded', { camera: id, file: recorder.path });
    cameras.set(id, recordCamera(recorder, { camera, filter, clock, takesUnmasked, onLeftOut }));
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
