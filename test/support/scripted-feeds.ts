import type { Clock } from '../../src/base/clock.ts';
import { SightlineError } from '../../src/base/errors.ts';
import type { FrameName } from '../../src/base/frame-name.ts';
import type { FrameOutcome } from '../../src/base/frame.ts';
import type { CameraDocument, CameraStanding } from '../../src/sources/camera/documents.ts';
import type { DrawnBoxes, NamedOutcome, RawFragment, RawInit } from '../../src/base/camera-frame.ts';
import type { CameraFeed, CameraFeeds, Still } from '../../src/sources/camera/feed.ts';
import type { Hub } from '../../src/stream/hub.ts';
import type { Stream } from '../../src/stream/stream.ts';
import { fragmentOf, frameOf, type NumberedVideo } from './numbered-video.ts';

/** Cameras that do what a test says. */

/** A car in a frame. */
export const FOUND: FrameOutcome = {
  kind: 'result',
  width: 320,
  height: 80,
  result: {
    pipeline: 'objects',
    detections: [{ label: 'car', classId: 2, score: 0.5, box: { x: 0, y: 0, width: 0.5, height: 1 } }],
  },
  receivedTimeMs: 1,
  startedTimeMs: 2,
  stagesMs: { decode: 1, preprocess: 1, inference: 1, postprocess: 1 },
};

/** A frame's capture before it comes to the server. */
export const CAPTURED_BEFORE_MS = 5;

/** Of a camera of which nothing comes. */
export const NO_RATES = {
  received_fps: 0,
  received_bits_per_s: 0,
  decoded_fps: 0,
  pictures_fps: 0,
  granted_fps: null,
  annotated_fps: null,
  annotated_side: null,
};
const FRAMES = {
  received: 0,
  decoded: 0,
  damaged: 0,
  pictures: 0,
  pictures_dropped: 0,
  fragments: 0,
  fragments_dropped: 0,
  transcoded: 0,
  transcoded_dropped: 0,
  annotated: 0,
  annotated_dropped: 0,
};

export class ScriptedCamera implements CameraFeed {
  readonly id: string;
  readonly raw: Stream<RawFragment>;
  readonly transcoded: Stream<RawFragment>;
  readonly annotated: Stream<RawFragment>;
  readonly results: Stream<NamedOutcome>;
  /** How often its raw channel was asked for, and is asked for now. */
  watched = 0;
  watching = 0;
  /** The same of its frames encoded anew: they are those of the clip, too. */
  transcoding = 0;
  /** The same of those on which results are drawn: they are as they were. */
  annotating = 0;
  mayAnnotate = true;
  /** What is told to be drawn on the next ones. */
  boxes: DrawnBoxes = 'none';
  /** There is no place for it among those that are encoded anew. */
  mayTranscode = true;
  /** Of its own, from the next epoch on: what it says, whatever the clip is. Null: it has no raw channel. */
  codecString: string | null;
  masks: readonly string[] = [];
  inlet: string | undefined;
  /** Why it is in its state. */
  reason: CameraDocument['reason'] = null;
  readonly #clock: Clock;
  readonly #video: NumberedVideo;
  #annotateFailed: ((error: SightlineError) => void) | undefined;
  #transcodeFailed: ((error: SightlineError) => void) | undefined;
  readonly #stateListeners = new Set<() => void>();
  #state: CameraDocument['state'] = 'live';
  #init: RawInit;
  #transcodedInit: RawInit;
  #epoch: number;
  #seq = 0;
  #mediaTimeS = 0;
  #damaged = 0;

  constructor({ id, hub, clock, video, capacity }: ScriptedCameraParts) {
    this.id = id;
    this.#clock = clock;
    this.#video = video;
    this.codecString = video.track.codecString;
    this.#epoch = Math.floor(clock.now());
    [this.#init, this.#transcodedInit] = [this.#makeInit(false), this.#makeInit(true)];
    this.raw = hub.create(`cameras/${id}/raw`, { capacity });
    this.transcoded = hub.create(`cameras/${id}/transcoded`, { capacity });
    this.annotated = hub.create(`cameras/${id}/annotated`, { capacity });
    this.results = hub.create(`cameras/${id}/results`, { capacity });
  }

  /** The name that the next frame gets. */
  get next(): FrameName {
    return { camera: this.id, epoch: this.#epoch, seq: this.#seq };
  }

  /** The next frames of its clip, which begins anew with each epoch and repeats. `durationS`: of each, default by the clip's rate. */
  play(count = 1, durationS = 1 / this.#video.rateFps): void {
    for (let i = 0; i < count; i++) {
      const { isKey } = frameOf(this.#video, this.#seq);
      const mediaTimeS = this.#mediaTimeS;
      const bytes = fragmentOf(this.#video, this.#seq, mediaTimeS, durationS);
      // No box has a size like that.
      if (this.#damaged > 0) bytes.fill(0xff, 0, 8);
      const data: RawFragment = {
        init: this.#init,
        frame: this.next,
        order: this.#seq,
        clock: 'arrival',
        isKey,
        mediaTimeS,
        durationS,
        bytes,
      };
      this.#damaged = Math.max(0, this.#damaged - 1);
      this.#seq++;
      this.#mediaTimeS += durationS;
      const captureTimeMs = this.#clock.now() - CAPTURED_BEFORE_MS;
      this.raw.publish({ data, captureTimeMs });
      const anew = { ...data, init: this.#transcodedInit };
      if (this.transcoding > 0) this.transcoded.publish({ data: anew, captureTimeMs });
      if (this.annotating > 0) this.annotated.publish({ data: { ...anew, boxes: this.boxes }, captureTimeMs });
    }
  }

  /** Frames that were sent and did not come as far as the server. */
  lose(count: number): void {
    this.#seq += count;
    this.#mediaTimeS += count / this.#video.rateFps;
  }

  /** The next so many fragments are none. */
  damage(count: number): void {
    this.#damaged = count;
  }

  find(seq: number, outcome: FrameOutcome): void {
    const frame = { camera: this.id, epoch: this.#epoch, seq };
    const data: NamedOutcome = { frame, clock: 'arrival', pipeline: 'objects', outcome };
    this.results.publish({ data, captureTimeMs: this.#clock.now() - CAPTURED_BEFORE_MS });
  }

  reconnect(): void {
    this.#epoch = Math.max(this.#epoch + 1, Math.floor(this.#clock.now()));
    this.#seq = 0;
    this.#mediaTimeS = 0;
    [this.#init, this.#transcodedInit] = [this.#makeInit(false), this.#makeInit(true)];
  }

  /** What is encoded anew has another size from now on. */
  resize(width: number, height: number): void {
    this.#transcodedInit = { ...this.#transcodedInit, width, height };
  }

  become(state: CameraDocument['state']): void {
    this.#state = state;
    for (const listener of this.#stateListeners) listener();
  }

  get stateListeners(): number {
    return this.#stateListeners.size;
  }

  get isMasked(): boolean {
    return this.masks.length > 0;
  }

  standing(): CameraStanding {
    const { width, height } = this.#init;
    const codec_string = this.codecString && this.#init.codecString;
    const sinceMs = this.#clock.now();
    return {
      state: this.#state,
      since: sinceMs,
      reason: this.reason,
      until: null,
      picture: { condition: 'ok', since: sinceMs },
      stream: { format: 'mp4', codec: 'h264', codec_string, width, height, clock: 'arrival', epoch: this.#epoch },
    };
  }

  report(): CameraDocument {
    return {
      id: this.id,
      url: `file:///${this.id}.mp4`,
      class: 'normal',
      pipelines: ['objects'],
      ...this.standing(),
      decoding: { by: 'software', reason: null },
      process: null,
      rates: NO_RATES,
      frames: FRAMES,
      connections: 1,
      viewers: this.watching,
      transcoding: this.transcoding > 0,
      annotating: this.annotating > 0,
      masked: this.isMasked,
    };
  }

  watchState(onChange: () => void): () => void {
    this.#stateListeners.add(onChange);
    return () => void this.#stateListeners.delete(onChange);
  }

  watchRaw(): () => void {
    this.watched++;
    this.watching++;
    return () => void this.watching--;
  }

  watchTranscoded(onFailed: (error: SightlineError) => void): () => void {
    if (!this.mayTranscode) throw new SightlineError('TRANSCODE_LIMIT_REACHED', 'there is no place');
    this.transcoding++;
    this.#transcodeFailed = onFailed;
    return () => void this.transcoding--;
  }

  watchAnnotated(onFailed: (error: SightlineError) => void): () => void {
    if (!this.mayAnnotate) throw new SightlineError('ANNOTATE_LIMIT_REACHED', 'there is no place');
    this.annotating++;
    this.#annotateFailed = onFailed;
    return () => void this.annotating--;
  }

  /** It is drawn on no more. */
  failAnnotate(): void {
    this.#annotateFailed!(new SightlineError('ANNOTATE_FAILED', 'the encoder fails'));
  }

  /** It is encoded anew no more. */
  failTranscode(): void {
    this.#transcodeFailed!(new SightlineError('TRANSCODE_FAILED', 'the encoder fails'));
  }

  still(): Promise<Still> {
    return Promise.reject(new Error('there are none'));
  }

  close(): void {
    this.results.close();
    this.raw.close();
    this.transcoded.close();
    this.annotated.close();
  }

  #makeInit(isTranscoded: boolean): RawInit {
    const { width, height, init: bytes } = this.#video.track;
    const codecString = (isTranscoded ? undefined : this.codecString) ?? this.#video.track.codecString;
    return { isTranscoded, epoch: this.#epoch, codecString, width, height, bytes };
  }
}

interface ScriptedCameraParts {
  readonly id: string;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly video: NumberedVideo;
  /** Of its streams. */
  readonly capacity: number;
}

export class ScriptedCameras implements CameraFeeds {
  readonly #parts: Omit<ScriptedCameraParts, 'id'>;
  readonly #cameras = new Map<string, ScriptedCamera>();
  readonly #listeners = new Set<(id: string) => void>();

  constructor(parts: Omit<ScriptedCameraParts, 'id'>) {
    this.#parts = parts;
  }

  add(id: string): ScriptedCamera {
    const camera = new ScriptedCamera({ ...this.#parts, id });
    this.#cameras.set(id, camera);
    for (const listener of this.#listeners) listener(id);
    return camera;
  }

  remove(id: string): void {
    this.#cameras.get(id)!.close();
    this.#cameras.delete(id);
    for (const listener of this.#listeners) listener(id);
  }

  /** It has masks from now on, or none any more. */
  mask(id: string, isMasked = true): void {
    this.get(id).masks = isMasked ? ['0,0 0.5,0 0.5,1'] : [];
    for (const listener of this.#listeners) listener(id);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  all(): readonly ScriptedCamera[] {
    return [...this.#cameras.values()];
  }

  get(id: string): ScriptedCamera {
    const camera = this.#cameras.get(id);
    if (camera === undefined) throw new SightlineError('CAMERA_UNKNOWN', `there is no camera "${id}"`);
    return camera;
  }

  watchAll(onChange: (id: string) => void): () => void {
    this.#listeners.add(onChange);
    return () => void this.#listeners.delete(onChange);
  }
}
