import type { NamedOutcome, RawFragment, RawInit } from '../base/camera-frame.ts';
import { wallAheadMs, type Clock } from '../base/clock.ts';
import type { FrameName } from '../base/frame-name.ts';
import { PIPELINE_NAMES } from '../base/result.ts';
import type { Sample } from '../base/sample.ts';
import { annexBOf, parameterSetsOfTrack } from '../media/fmp4.ts';
import type { ParameterSets } from '../media/nal.ts';
import { namedOutcomeMessage } from '../protocol/outcome-message.ts';
import { Payload } from '../protocol/payload.ts';
import { matches } from '../protocol/topic.ts';
import { newestKey } from '../stream/newest-key.ts';
import type { Stream } from '../stream/stream.ts';
import { toTimestamp } from './recording-format.ts';
import type { FollowOptions, Recorded, Recorder } from './recording.ts';

/** A camera of the fleet. */
export interface RecordedCamera {
  readonly id: string;
  readonly raw: Stream<RawFragment>;
  /** It has masks, which these frames have not. */
  readonly isMasked: boolean;
  /** Frames come until the function that it returns is called. */
  watchRaw(): () => void;
  readonly results: Stream<NamedOutcome>;
  /** `stream` null: it is not known now what comes of it. `codec_string` null: there is no raw channel for that. */
  report(): { readonly stream: { readonly codec_string: string | null } | null };
}

export interface RecordedCameras {
  all(): readonly RecordedCamera[];
  /** Calls back when a camera was added, changed or removed. Returns a function that ends that. */
  watchAll(onChange: (id: string) => void): () => void;
}

export interface CameraRecordingOptions {
  readonly camera: RecordedCamera;
  readonly filter: string;
  readonly clock: Clock;
  /** Frames of cameras with masks are recorded, too, as they are. */
  readonly takesUnmasked: () => boolean;
  /** Its frames are left out from now on, since it has masks. */
  readonly onLeftOut: () => void;
}

/** A camera in a recording. */
export interface CameraRecording {
  readonly camera: RecordedCamera;
  /** The camera, or what may be recorded of it, may have changed. */
  follow(): void;
  /** Ends the interest in the camera's frames; to be called when they are written. */
  end(): void;
}

/** Records what the filter matches of `cameras/<id>/video` and `cameras/<id>/<pipeline>`. The video begins at the newest key frame that is at hand. */
export function recordCamera(recorder: Recorder, options: CameraRecordingOptions): CameraRecording {
  const { camera, filter, clock, takesUnmasked, onLeftOut } = options;
  const { id, raw, results } = camera;
  const isRecorded = (part: string): boolean => matches(filter, topicOf(id, part));
  const hasVideo = isRecorded('video');
  const pipelines = new Set<string>(PIPELINE_NAMES.filter(isRecorded));
  const mayRecord = (): boolean => !camera.isMasked || takesUnmasked();
  const track = new Track(camera, clock, mayRecord);
  const key = newestKey(raw);
  if (hasVideo) recorder.follow(raw, topicOf(id, 'video'), (sample) => track.frame(sample), { from: key ?? 'live' });
  if (pipelines.size > 0) {
    const toRecorded = (sample: Sample<NamedOutcome>): Recorded | undefined => {
      const { pipeline, outcome } = sample.data;
      if (!pipelines.has(pipeline) || outcome.kind === 'dropped') return undefined;
      return track.outcome(sample, topicOf(id, pipeline));
    };
    // Those of frames that are at hand are so as well.
    const from = key === undefined ? 'live' : results.oldest;
    const waits: FollowOptions<NamedOutcome>['waits'] = { for: raw, isDue: ({ data }) => track.isDue(data.frame) };
    recorder.follow(results, topicOf(id, 'results'), toRecorded, hasVideo ? { from, waits } : {});
  }
  let isLeftOut = false;
  let unwatch: (() => void) | undefined;
  const end = (): void => {
    unwatch?.();
    unwatch = undefined;
  };
  const follow = (): void => {
    if (!hasVideo) return;
    const mayNow = mayRecord();
    if (mayNow) unwatch ??= camera.watchRaw();
    else end();
    if (!mayNow && !isLeftOut) onLeftOut();
    isLeftOut = !mayNow;
  };
  follow();
  return { camera, follow, end };
}

/** What a camera sends is seldom in doubt, and asking for it is not cheap. */
const ASK_INTERVAL_MS = 1_000;

/** Frames and results of one camera in a recording: a result lies behind its frame. */
class Track {
  readonly #camera: RecordedCamera;
  readonly #clock: Clock;
  readonly #mayRecord: () => boolean;
  #init: RawInit | undefined;
  #sets: ParameterSets | undefined;
  /** With what the recording of the camera begins. */
  #first: FrameName | undefined;
  /** The newest frame that was taken, and when it came. */
  #last: FrameName | undefined;
  #lastMs = -Infinity;
  /** Its frames come. */
  #hasRaw = true;
  /** When that was asked. */
  #askedMs = -Infinity;

  constructor(camera: RecordedCamera, clock: Clock, mayRecord: () => boolean) {
    this.#camera = camera;
    this.#clock = clock;
    this.#mayRecord = mayRecord;
  }

  /** Undefined: it may not be recorded. */
  frame(sample: Sample<RawFragment>): Recorded | undefined {
    if (!this.#mayRecord()) return undefined;
    const { init, frame, clock, isKey, mediaTimeS, durationS, bytes } = sample.data;
    if (init !== this.#init) {
      this.#init = init;
      this.#sets = parameterSetsOfTrack(init.bytes);
    }
    const sets = this.#sets!;
    if (isKey) this.#first ??= frame;
    this.#last = frame;
    this.#lastMs = sample.publishedTimeMs;
    const { camera, epoch, seq } = frame;
    const timeMs = sample.captureTimeMs + wallAheadMs(this.#clock);
    const data = annexBOf(bytes, isKey ? sets : undefined);
    const payload = Payload.of({
      timestamp: toTimestamp(timeMs),
      frame_id: camera,
      format: sets.codec === 'h264' ? 'h264' : 'h265',
      camera,
      epoch,
      seq,
      capture_time: timeMs,
      clock,
      is_key: isKey,
      media_time_s: mediaTimeS,
      duration_s: durationS,
      data: Buffer.from(data.buffer, data.byteOffset, data.length).toString('base64'),
    });
    return { timeMs, payload, epoch: String(epoch), seq, continues: !isKey };
  }

  /** Undefined: its frame was before the recording. */
  outcome(sample: Sample<NamedOutcome>, topic: string): Recorded | undefined {
    const { frame } = sample.data;
    if (this.#first && isBefore(frame, this.#first)) return undefined;
    const aheadMs = wallAheadMs(this.#clock);
    return {
      timeMs: sample.captureTimeMs + aheadMs,
      payload: Payload.of(namedOutcomeMessage(sample, this.#clock.now(), aheadMs)),
      topic,
      epoch: String(frame.epoch),
      seq: frame.seq,
      arrivedMs: Math.max(sample.publishedTimeMs, this.#lastMs),
      behind: topicOf(frame.camera, 'video'),
    };
  }

  /**
   * Its frame was taken, or will not come. Where somebody begins to watch a camera its newest frames come behind what was found in them; later a frame comes
   * before its result always.
   */
  isDue(frame: FrameName): boolean {
    if ((this.#last && !isBefore(this.#last, frame)) || !this.#mayRecord()) return true;
    const nowMs = this.#clock.now();
    if (this.#hasRaw && nowMs - this.#askedMs >= ASK_INTERVAL_MS) {
      this.#askedMs = nowMs;
      this.#hasRaw = this.#camera.report().stream?.codec_string !== null;
    }
    return !this.#hasRaw;
  }
}

function topicOf(camera: string, part: string): string {
  return `cameras/${camera}/${part}`;
}

function isBefore(one: FrameName, other: FrameName): boolean {
  return one.epoch < other.epoch || (one.epoch === other.epoch && one.seq < other.seq);
}
