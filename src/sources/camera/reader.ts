import { setTimeout as sleep } from 'node:timers/promises';
import type { Frame } from 'node-av/lib';
import { TICKS_PER_S, type DrawnBoxes } from '../../base/camera-frame.ts';
import type { CaptureClock } from '../../base/frame-name.ts';
import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Mp4Track } from '../../media/fmp4.ts';
import type { NalCodec } from '../../media/nal.ts';
import { PictureWatch, WATCH_SIZE } from '../../vision/picture-watch.ts';
import { DecodePlan, Pace } from './decode-plan.ts';
import { EncodedTrack } from './encoded-track.ts';
import { connectionFault } from './faults.ts';
import type { KeptWatch, KeptWatches } from './kept-watches.ts';
import { MaskFault, MaskPainter } from './mask-painter.ts';
import type {
  AnnotatedWish,
  CameraInput,
  PictureCondition,
  PictureScale,
  ReaderCounts,
  ReaderNews,
  ReaderOrder,
  StreamFacts,
} from './messages.ts';
import { sourceOf } from './open-source.ts';
import type { Outlet } from './outlet.ts';
import type { HardwareType } from './hardware.ts';
import { PictureDecoder, type OpenDecoder } from './picture-decoder.ts';
import { drawingsOn } from './drawings.ts';
import { drawnStill, DrawnStills, FIRST_RESULT_WAIT_MS, STILL_BOXES_MS_MAX, type DrawnStill } from './drawn-stills.ts';
import { SIDE_MAX } from './picture-encoder.ts';
import { PictureScaler, type ScaledPicture } from './picture-scaler.ts';
import { RateMeter } from './rate-meter.ts';
import { RawTrack, type NamedFrame } from './raw-track.ts';
import { ResultBoard, type BoardFrame, type Drawing } from './result-board.ts';
import { aheadOfMonotonicMs, monotonicMs, type PacketSource, type SourcePacket, type TrackFacts } from './source.ts';
import { Timeline } from './timeline.ts';

/**
 * One camera in its process: its packets get their names, and go on as fragments to those who watch, and to the decoder as far as pictures are needed. Reading
 * never waits for decoding: what the decoder has no time for is left out, whole groups of pictures at a time.
 */

export interface ReaderOptions {
  readonly camera: number;
  readonly epoch: number;
  readonly input: CameraInput;
  readonly outlet: Outlet;
  /** Decoders of a kind of device. */
  readonly hardware: (type: HardwareType) => OpenDecoder;
  readonly watches: KeptWatches;
  readonly tell: (news: ReaderNews) => void;
  /** All is freed. */
  readonly onEnd: () => void;
}

/** Frames that wait for the decoder. */
const QUEUE_MAX = 32;
/** While so many wait, pictures are decoded and not encoded anew: what a viewer gets stays close to live. */
const QUEUE_ENCODED_MAX = 4;
/** A viewer of the picture encoded anew begins where the camera is, if there are no more frames to be decoded for that; else with the next key frame. */
const REPLAY_MAX = 300;
/** A still that waits for the next picture is made of the newest key frame instead. */
const STILL_WAIT_MS = 1_000;
const STILLS_MAX = 8;
const WATCH_INTERVAL_MS = 500;
/** A camera's clock counts if its frames are no older, and not of the future. */
const CAPTURE_AGE_MS_MAX = 10_000;
/** Clocks that are set by NTP differ by some ms. */
const CAPTURE_AHEAD_MS_MAX = 50;
const CLOCK_TOLD_INTERVAL_MS = 10_000;
/** Cameras are not that exact about their rate. */
const RATE_TOLERANCE = 1.05;
/** Stored frames that are late by more are not caught up with. */
const PACE_LATE_MS = 1_000;
/** Decoded frames come back within so many others. */
const REORDERED_MAX = 64;

const NAL_CODECS: Readonly<Record<string, NalCodec>> = { h264: 'h264', hevc: 'hevc' };

interface Job {
  readonly frame: NamedFrame;
  readonly how: 'single' | 'next';
}

interface StillRequest {
  readonly request: number;
  readonly widthMax: number;
  readonly isDrawn: boolean;
  readonly timer: NodeJS.Timeout;
}

export class CameraReader {
  readonly camera: number;
  readonly #options: ReaderOptions;
  readonly #input: CameraInput;
  readonly #source: PacketSource;
  readonly #abort = new AbortController();
  readonly #plan = new DecodePlan();
  #watch = new PictureWatch();
  /** Of an earlier connection, until it is known whether the pictures are of the same form. */
  #earlierWatch: KeptWatch | undefined;
  /** Of the pictures that came first. */
  #form: string | undefined;
  readonly #watchPace = new Pace();
  readonly #rate = new RateMeter();
  readonly #masks: MaskPainter;
  readonly #rgb: PictureScaler;
  /** For the watch alone. */
  readonly #luma = new PictureScaler('luma');
  readonly #decoder: PictureDecoder;
  readonly #transcoded: EncodedTrack;
  readonly #annotated: EncodedTrack;
  /** Of the frames that are drawn on. */
  readonly #board = new ResultBoard();
  #track: TrackFacts | undefined;
  #timeline = new Timeline(true);
  #raw: RawTrack | undefined;
  #isRawWanted = false;
  #scale: PictureScale = null;
  #epoch: number;
  #seq = 0;
  /** Names frames for the decoder, over all epochs. */
  #id = 0;
  /** Told as `live`. */
  #facts: StreamFacts | undefined;
  #clockToldMs = -Infinity;
  /** Of this epoch. */
  #hasKey = false;
  #newestKey: NamedFrame | undefined;
  /** As told; undefined: nothing was. */
  #condition: PictureCondition | undefined;
  #lastFrameMs: number | undefined;
  #deadline: NodeJS.Timeout | undefined;
  /** Of a stored source: media time, and when that was. */
  #anchor: { readonly decode: number; readonly atMs: number } | undefined;
  readonly #jobs: Job[] = [];
  /** Frames that had come before all were wanted; they go before the others. */
  #replay: Job[] = [];
  /** The last one that was replayed. */
  #replayed: NamedFrame | undefined;
  readonly #decoding = new Map<number, NamedFrame>();
  #isDecoding: Promise<void> | undefined;
  readonly #stills: StillRequest[] = [];
  readonly #drawnStills: DrawnStills;
  /** Those that wait for the first result. */
  readonly #unfound: StillRequest[] = [];
  /** Parameters of coding, where they are not in the frames. */
  #extradata: Uint8Array | undefined;
  /** The decoder has to get them before the next frame. */
  #isExtradataNew = false;
  /** Of the device that is to decode; undefined: the software. */
  #device: OpenDecoder | undefined;
  /** From the next key frame on. */
  #isDeviceNew = false;
  #deviceFaults = 0;
  #end: { readonly code: ErrorCode | null; readonly reason: string } | undefined;
  #received = 0;
  #receivedBytes = 0;
  #lost = 0;
  #unmasked = 0;
  #pictures = 0;
  #picturesDropped = 0;
  #scaleMs = 0;

  constructor(options: ReaderOptions) {
    this.camera = options.camera;
    this.#options = options;
    this.#input = options.input;
    this.#epoch = options.epoch;
    this.#source = sourceOf(options.input);
    const { scene } = options.input;
    this.#earlierWatch = scene === undefined ? undefined : options.watches.take(scene, monotonicMs());
    this.#masks = new MaskPainter(options.input.masks);
    this.#drawnStills = new DrawnStills(!this.#masks.isEmpty);
    this.#rgb = new PictureScaler('rgb', this.#masks);
    const { camera, tell, outlet } = options;
    const parts = { outlet, masks: this.#masks };
    this.#transcoded = new EncodedTrack({
      ...parts,
      form: 'transcoded',
      onFailed: (reason) => tell({ type: 'transcode_failed', camera, reason }),
    });
    this.#annotated = new EncodedTrack({
      ...parts,
      form: 'annotated',
      onFailed: (reason) => tell({ type: 'annotate_failed', camera, reason }),
      annotator: {
        isDone: (frame) => this.#board.isDone(frame),
        draw: (picture, frame, orientation) => {
          const { boxes, results } = this.#board.drawingFor(boardFrame(frame));
          drawingsOn(picture, results, orientation);
          return boxes;
        },
      },
    });
    this.#decoder = new PictureDecoder(
      (picture, id) => this.#takePicture(picture, id),
      (by, fault) => this.#noteDecoder(by, fault),
    );
    void this.#run();
  }

  get counts(): ReaderCounts {
    const { decoded, damaged, decodeMs } = this.#decoder.counts;
    const { fragments = 0, fragmentsDropped = 0 } = this.#raw?.counts ?? {};
    return {
      received: this.#received,
      receivedBytes: this.#receivedBytes,
      decoded,
      damaged: damaged + this.#lost,
      unmasked: this.#unmasked,
      pictures: this.#pictures,
      picturesDropped: this.#picturesDropped,
      fragments,
      fragmentsDropped,
      transcoded: this.#transcoded.counts.encoded,
      transcodedDropped: this.#transcoded.counts.dropped,
      annotated: this.#annotated.counts.encoded,
      annotatedDropped: this.#annotated.counts.dropped,
      decodeMs,
      scaleMs: this.#scaleMs,
      encodeMs: this.#transcoded.counts.encodeMs + this.#annotated.counts.encodeMs,
    };
  }

  orderPictures(rateFps: number, scale: PictureScale): void {
    this.#scale = scale;
    this.#plan.order(rateFps);
  }

  orderRaw(isWanted: boolean): void {
    this.#isRawWanted = isWanted;
    if (this.#facts) this.#raw?.want(isWanted);
  }

  orderTranscoded(isWanted: boolean): void {
    this.#transcoded.want(isWanted ? { sideMax: SIDE_MAX, fpsMax: Infinity } : undefined);
    this.#followWishes();
  }

  orderAnnotated(wish: AnnotatedWish | null): void {
    if (wish) this.#board.configure(wish.pipelines);
    this.#annotated.want(wish ?? undefined);
    if (!this.#isDrawing()) this.#board.clear();
    this.#followWishes();
  }

  orderResult({ epoch, seq, pipeline, result }: Extract<ReaderOrder, { type: 'result' }>): void {
    this.#board.note({ epoch, seq }, pipeline, result);
    this.#annotated.look();
    if (this.#board.isEmpty) return;
    for (const still of this.#unfound.splice(0)) {
      clearTimeout(still.timer);
      this.#makeStill(still);
    }
  }

  /** Somebody wants what was found, drawn on pictures. */
  #isDrawing(): boolean {
    return this.#annotated.isWanted || this.#drawnStills.isWanted(monotonicMs());
  }

  /** All frames are decoded while one of the forms is wanted that are made of pictures. */
  #followWishes(): void {
    const isWanted = this.#transcoded.isWanted || this.#annotated.isWanted;
    this.#plan.wantAll(isWanted);
    if (isWanted) this.#catchUp();
    else if (this.#replay.length > 0) {
      this.#replay.length = 0;
      this.#plan.break();
    }
  }

  /** `type`: of the device that is to decode it; null: the software. */
  orderDecoder(type: HardwareType | null): void {
    this.#device = type === null ? undefined : this.#options.hardware(type);
    this.#isDeviceNew = true;
  }

  #noteDecoder(by: string, fault: string | null): void {
    if (fault !== null) {
      this.#device = undefined;
      this.#deviceFaults += 1;
    }
    this.#options.tell({ type: 'decoder', camera: this.camera, by, fault });
  }

  /** Decodes what has come since the key frame, so that the next frame can be decoded. */
  #catchUp(): void {
    const frames = this.#raw?.group ?? [];
    if (this.#plan.isUnbroken || frames.length > REPLAY_MAX || frames.length === 0) return;
    this.#plan.mend();
    // Single key frames would come between; the newest one is among these.
    this.#jobs.length = 0;
    this.#replay = frames.map((frame) => ({ frame, how: 'next' }));
    this.#replayed = frames.at(-1);
    this.#isDecoding ??= this.#decodeJobs();
  }

  orderStill({ request, widthMax, drawn }: Extract<ReaderOrder, { type: 'still' }>): void {
    const key = this.#newestKey;
    if (!key) return this.#failStill(request, 'it has shown no picture yet');
    if (this.#stills.length + this.#unfound.length >= STILLS_MAX) {
      return this.#failStill(request, 'too many wait for a picture of it');
    }
    if (drawn === null) return this.#makeStill({ request, widthMax, isDrawn: false });
    if (!this.#isDrawing()) this.#board.clear();
    this.#drawnStills.want(widthMax, monotonicMs());
    this.#board.configure(drawn);
    if (drawn.length === 0 || !this.#board.isEmpty) return this.#makeStill({ request, widthMax, isDrawn: true });
    const timer = setTimeout(() => {
      this.#unfound.splice(this.#unfound.indexOf(still), 1);
      this.#makeStill(still);
    }, FIRST_RESULT_WAIT_MS);
    const still = { request, widthMax, isDrawn: true, timer };
    this.#unfound.push(still);
  }

  /** Of a picture that was looked at, where it is to be drawn on and there is one; else of the next, or the newest key frame. */
  #makeStill({ request, widthMax, isDrawn }: Omit<StillRequest, 'timer'>): void {
    const own = isDrawn ? this.#ownStill(widthMax) : undefined;
    if (own) return this.#giveStill(request, own, 'own');
    const timer = setTimeout(() => this.#decodeNewestKey(), STILL_WAIT_MS);
    this.#stills.push({ request, widthMax, isDrawn, timer });
    // Where all frames are decoded the next picture is as good.
    if (this.#plan.mode === 'keys') this.#decodeNewestKey();
  }

  #ownStill(widthMax: number): DrawnStill | undefined {
    return this.#drawnStills.newest(widthMax, monotonicMs(), {
      isDone: (frame) => this.#board.isDone(frame),
      drawingFor: (frame) => this.#board.drawingFor(boardFrame(frame)),
    });
  }

  /** Ends it; `ended` is told when all is free. */
  close(): void {
    this.#finish(null, 'it was closed');
  }

  async #run(): Promise<void> {
    const { openTimeoutMs } = this.#input;
    try {
      await this.#arrival();
      this.#deadline = setTimeout(() => this.#neverCame(), openTimeoutMs);
      const track = await this.#source.open();
      this.#track = track;
      this.#requireSize(track);
      this.#timeline = new Timeline(!track.isStored);
      const codec = NAL_CODECS[track.codec];
      if (codec) this.#raw = new RawTrack(codec, track.extradata, this.#options.outlet);
      if (this.#raw?.track) this.#requireSize(this.#raw.track);
      this.#extradata = track.extradata;
      await this.#openDecoder();
      for (let packet = await this.#source.read(); packet && !this.#end; packet = await this.#source.read()) {
        await this.#take(packet);
      }
      await this.#sourceEnded();
    } catch (thrown) {
      this.#failed(thrown);
    }
    await this.#free();
  }

  /** Where somebody has to come who sends. */
  async #arrival(): Promise<void> {
    if (!this.#source.arrive) return;
    const { tell } = this.#options;
    tell({ type: 'publisher', camera: this.camera, isThere: false });
    await this.#source.arrive();
    tell({ type: 'publisher', camera: this.camera, isThere: true });
  }

  /** It is over by itself. */
  async #sourceEnded(): Promise<void> {
    if (this.#end) return;
    const isFile = this.#track?.isStored === true;
    if (this.#received === 0) this.#finish('CAMERA_FORMAT', 'there is not one frame in it');
    else if (!isFile) this.#finish('CAMERA_ENDED', 'the stream has ended');
    else {
      // The last pictures of a file are still in the decoder.
      await this.#isDecoding;
      await this.#decoder.drain();
      this.#finish(null, 'it was played to its end');
    }
  }

  #failed(thrown: unknown): void {
    if (this.#end) return;
    // What is wrong with bytes is told as such by what reads them: those of a camera say it by an error of their own.
    if (thrown instanceof SightlineError && !thrown.code.startsWith('CAMERA_')) {
      this.#finish('CAMERA_FORMAT', thrown.message);
      return;
    }
    const { code, message } = connectionFault(thrown);
    this.#finish(code, message);
  }

  #finish(code: ErrorCode | null, reason: string): void {
    if (this.#end) return;
    this.#end = { code, reason };
    clearTimeout(this.#deadline);
    this.#abort.abort();
    void this.#source.close();
  }

  async #free(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#deadline);
    this.#jobs.length = 0;
    this.#replay.length = 0;
    await this.#source.close();
    await this.#isDecoding;
    for (const { request, timer } of [...this.#stills.splice(0), ...this.#unfound.splice(0)]) {
      clearTimeout(timer);
      this.#failStill(request, 'its connection has ended');
    }
    this.#decoder.close();
    await this.#transcoded.close();
    await this.#annotated.close();
    this.#rgb.close();
    this.#masks.close();
    this.#luma.close();
    this.#keepWatch();
    const { code, reason } = this.#end!;
    const { outlet, tell, onEnd } = this.#options;
    onEnd();
    tell({ type: 'ended', camera: this.camera, code, reason, dataBytes: outlet.bytes });
  }

  #keepWatch(): void {
    const { scene } = this.#input;
    if (scene === undefined) return;
    const ours = this.#form && { watch: this.#watch, form: this.#form, endedMs: monotonicMs() };
    // It has shown nothing: what was known before is not older by that.
    const kept = this.#earlierWatch ?? ours;
    if (kept) this.#options.watches.keep(scene, kept);
  }

  #neverCame(): void {
    const waitedS = this.#input.openTimeoutMs / 1000;
    if (this.#track) this.#finish('CAMERA_STALLED', `it is connected, and sent no frame within ${waitedS} s`);
    else this.#finish('CAMERA_UNREACHABLE', `there was no stream within ${waitedS} s`);
  }

  #watchStall(): void {
    const { stallTimeoutMs } = this.#input;
    const check = () => {
      const leftMs = this.#lastFrameMs! + stallTimeoutMs - monotonicMs();
      if (leftMs > 0) this.#deadline = setTimeout(check, leftMs);
      else this.#finish('CAMERA_STALLED', `no frame came for ${stallTimeoutMs / 1000} s`);
    };
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(check, stallTimeoutMs);
  }

  #requireSize({ width, height }: { readonly width: number; readonly height: number }): void {
    const { pixelsMax } = this.#input;
    if (width * height <= pixelsMax) return;
    throw new SightlineError(
      'CAMERA_TOO_LARGE',
      `its pictures of ${width}×${height} have more than ${pixelsMax} pixels`,
    );
  }

  async #take(packet: SourcePacket): Promise<void> {
    if (packet.isRestart) this.#timeline.rebase();
    if (packet.extradata) this.#setExtradata(packet.extradata);
    if (packet.lost > 0) this.#noteLoss(packet.lost);
    const track = this.#track!;
    const seen = this.#raw?.look(packet.bytes);
    if (seen?.newTrack) this.#changeTrack(seen.newTrack);
    // Nobody gets what came before the first key frame.
    if (packet.isKey && !this.#hasKey) this.#timeline.break();
    const times = this.#timeline.place({ ...packet, reorderedFrames: this.#raw?.track?.reorderedFrames });
    const arrivedMs = track.isStored ? await this.#pace(times.decode) : packet.arrivedMs;
    if (this.#end) return;
    this.#received += 1;
    this.#receivedBytes += packet.bytes.length;
    this.#requireRate(this.#isFast() ? (times.decode * 1000) / TICKS_PER_S : arrivedMs);
    if (this.#lastFrameMs === undefined) this.#watchStall();
    this.#lastFrameMs = monotonicMs();
    this.#hasKey ||= packet.isKey;
    const frame: NamedFrame = {
      camera: this.camera,
      epoch: this.#epoch,
      seq: this.#seq++,
      arrivedMs,
      ...capture(packet.cameraMs, arrivedMs),
      bytes: packet.bytes,
      isKey: packet.isKey,
      times,
    };
    if (packet.isKey) this.#newestKey = frame;
    this.#tellLive(frame.clock);
    if (seen) this.#raw!.take(frame, seen.units);
    this.#transcoded.expect(frame);
    const isReference = seen?.isReference ?? true;
    const how = this.#plan.see({ isKey: packet.isKey, isReference, atMs: arrivedMs, shownMs: this.#shownMs(frame) });
    if (how !== 'skip') this.#decode({ frame, how });
    // A source that can wait loses nothing.
    if (this.#isFast()) {
      await this.#options.outlet.room(this.#abort.signal);
      if (this.#jobs.length >= QUEUE_MAX / 2) await this.#isDecoding;
    }
  }

  /** Rates are those of the time in which the server lives. */
  #shownMs({ times, arrivedMs }: NamedFrame): number {
    return this.#isFast() ? arrivedMs : (times.presentation * 1000) / TICKS_PER_S;
  }

  #isFast(): boolean {
    return this.#track!.isStored && this.#input.pace === 'fast';
  }

  /** When a stored frame is there: at its time, or at once. */
  async #pace(decode: number): Promise<number> {
    const nowMs = monotonicMs();
    if (this.#isFast()) return nowMs;
    const dueMs = this.#anchor && this.#anchor.atMs + ((decode - this.#anchor.decode) * 1000) / TICKS_PER_S;
    if (dueMs === undefined || nowMs - dueMs > PACE_LATE_MS) {
      this.#anchor = { decode, atMs: nowMs };
      return nowMs;
    }
    // A pause of the medium is no stall.
    for (let leftMs = dueMs - nowMs; leftMs > 0 && !this.#end; leftMs = dueMs - monotonicMs()) {
      this.#lastFrameMs &&= monotonicMs();
      await sleep(Math.min(leftMs, 1_000), undefined, { signal: this.#abort.signal }).catch(() => undefined);
    }
    return Math.max(dueMs, nowMs);
  }

  #requireRate(atMs: number): void {
    const rateFps = this.#rate.see(atMs);
    const { rateFpsMax } = this.#input;
    if (rateFps === undefined || rateFps <= rateFpsMax * RATE_TOLERANCE) return;
    throw new SightlineError(
      'CAMERA_TOO_LARGE',
      `it sends ${Math.round(rateFps)} frames a second, more than ${rateFpsMax}`,
    );
  }

  #noteLoss(lost: number): void {
    this.#lost += lost;
    this.#plan.break();
    this.#raw?.break();
    this.#timeline.break();
  }

  #setExtradata(extradata: Uint8Array): void {
    const before = this.#raw?.track;
    this.#raw?.setExtradata(extradata);
    this.#extradata = extradata;
    this.#isExtradataNew = true;
    this.#plan.break();
    const after = this.#raw?.track;
    if (after && after !== before) this.#changeTrack(after);
  }

  /** The parameters of coding are others from this frame on. */
  #changeTrack(track: Mp4Track): void {
    this.#requireSize(track);
    // Before the first key frame nothing could be decoded: they are the first ones, not others.
    if (this.#hasKey) this.#beginEpoch();
    else this.#facts = undefined;
  }

  #beginEpoch(): void {
    this.#epoch = Math.max(Date.now(), this.#epoch + 1);
    this.#seq = 0;
    this.#timeline = new Timeline(!this.#track!.isStored);
    this.#anchor = undefined;
    this.#facts = undefined;
    this.#hasKey = false;
    this.#plan.restart();
  }

  /** Once the size is known; and once more when it is known whose clock its times are from. */
  #tellLive(clock: CaptureClock): void {
    const track = this.#track!;
    const coded = this.#raw?.track;
    const nowMs = monotonicMs();
    if (this.#facts && (this.#facts.clock === clock || nowMs - this.#clockToldMs < CLOCK_TOLD_INTERVAL_MS)) return;
    const { width, height } = this.#facts ?? coded ?? track;
    if (width === 0 || height === 0) return;
    const isNew = this.#facts === undefined;
    this.#clockToldMs = isNew ? -Infinity : nowMs;
    const codecString = coded?.codecString ?? null;
    this.#facts = { format: track.format, codec: track.codec, codecString, width, height, clock };
    this.#options.tell({ type: 'live', camera: this.camera, epoch: this.#epoch, facts: this.#facts });
    if (!isNew) return;
    this.#raw?.want(this.#isRawWanted);
    this.#beginWatch(`${track.codec} ${width}×${height}`);
  }

  #beginWatch(form: string): void {
    if (this.#form !== undefined) return;
    this.#form = form;
    if (this.#earlierWatch?.form === form) this.#watch = this.#earlierWatch.watch;
    this.#earlierWatch = undefined;
    this.#noteCondition(this.#watch.condition);
  }

  #decode(job: Job): void {
    if (this.#jobs.length >= QUEUE_MAX) {
      // The decoder is behind: it goes on with the next key frame.
      this.#jobs.length = 0;
      this.#replay.length = 0;
      if (!job.frame.isKey || job.how === 'single') this.#plan.break();
      if (!job.frame.isKey) return;
    }
    this.#jobs.push(job);
    this.#isDecoding ??= this.#decodeJobs();
  }

  async #decodeJobs(): Promise<void> {
    try {
      const next = () => this.#replay.shift() ?? this.#jobs.shift();
      for (let job = next(); job && !this.#end; job = next()) await this.#decodeJob(job);
    } catch (thrown) {
      this.#failed(thrown);
    } finally {
      this.#isDecoding = undefined;
    }
  }

  async #decodeJob(job: Job): Promise<void> {
    const faults = this.#deviceFaults;
    await this.#decodeFrame(job);
    // A key frame was decoded by the software after all; what follows any other one cannot be.
    if (this.#deviceFaults > faults && !job.frame.isKey) this.#skipToKey();
  }

  #skipToKey(): void {
    this.#replay.length = 0;
    const key = this.#jobs.findIndex(({ frame }) => frame.isKey);
    this.#jobs.splice(0, key < 0 ? this.#jobs.length : key);
    if (key < 0) this.#plan.break();
  }

  async #decodeFrame({ frame, how }: Job): Promise<void> {
    if (this.#isDeviceNew && frame.isKey) {
      // What the other one still has goes first.
      await this.#decoder.drain();
      await this.#openDecoder();
    } else if (this.#isExtradataNew) await this.#openDecoder();
    const id = ++this.#id;
    this.#decoding.set(id, frame);
    const coded = { id, bytes: frame.bytes, isKey: frame.isKey };
    if (how === 'single') {
      this.#plan.noteSingle(await this.#decoder.single(coded));
      this.#decoding.clear();
      return;
    }
    await this.#decoder.next(coded);
    if (this.#decoding.size > 2 * REORDERED_MAX) {
      for (const old of this.#decoding.keys()) if (old < id - REORDERED_MAX) this.#decoding.delete(old);
    }
  }

  async #openDecoder(): Promise<void> {
    const limits = { pixelsMax: this.#input.pixelsMax, extradata: this.#extradata };
    this.#isExtradataNew = false;
    this.#isDeviceNew = false;
    await this.#decoder.open(this.#track!, limits, this.#device);
  }

  async #takePicture(picture: Frame, id: number): Promise<void> {
    const frame = this.#decoding.get(id);
    this.#decoding.delete(id);
    if (!frame || this.#end) return;
    const { width, height } = picture;
    this.#requireSize({ width, height });
    if (!this.#raw && frame.epoch === this.#epoch) this.#followSize(width, height);
    // What is wanted of it otherwise was taken in its time.
    const isReplayed = this.#isReplayed(frame);
    if (!isReplayed && this.#form !== undefined && this.#watchPace.isDue(frame.arrivedMs)) {
      this.#watchPace.take(frame.arrivedMs, WATCH_INTERVAL_MS);
      const { bytes } = await this.#luma.scale(picture, { ...WATCH_SIZE, fit: 'stretch' });
      this.#noteCondition(this.#watch.see(bytes, frame.arrivedMs));
    }
    try {
      // What comes behind that leaves the process.
      const masked = await this.#masks.mask(picture);
      const isTaken = !isReplayed && this.#plan.takesPicture(this.#shownMs(frame));
      const isSent = isTaken && (await this.#sendPicture(masked, frame));
      if (isSent && this.#isDrawing()) await this.#expectResults(masked, frame);
      while (this.#stills.length > 0) await this.#sendStill(masked, frame);
      await this.#encode(masked, frame, isSent);
    } catch (thrown) {
      if (!(thrown instanceof MaskFault)) throw thrown;
      this.#unmasked += 1;
    }
  }

  /** It went to the engine: what is found in it is to be drawn. */
  async #expectResults(picture: Frame, frame: NamedFrame): Promise<void> {
    this.#board.expect(boardFrame(frame));
    const pictures = new Map<number, ScaledPicture>();
    for (const width of this.#drawnStills.widths(monotonicMs())) {
      pictures.set(width, await this.#rgb.scale(picture, stillScale(width)));
    }
    if (pictures.size > 0) this.#drawnStills.keep(frame, pictures);
  }

  /** `isSent`: it went to the engine. */
  async #encode(picture: Frame, frame: NamedFrame, isSent: boolean): Promise<void> {
    // A source that can wait loses nothing.
    if (!this.#isFast() && this.#replay.length + this.#jobs.length >= QUEUE_ENCODED_MAX) return this.#annotated.pass();
    await this.#transcoded.take(picture, frame);
    await this.#annotated.take(picture, frame, isSent);
  }

  #isReplayed({ epoch, seq }: NamedFrame): boolean {
    return epoch === this.#replayed?.epoch && seq <= this.#replayed.seq;
  }

  /** Of codecs whose parameters are not read: the size shows when it is decoded. */
  #followSize(width: number, height: number): void {
    const { width: before = 0, height: beforeHeight = 0 } = this.#facts ?? this.#track!;
    if (width === before && height === beforeHeight) return;
    this.#track = { ...this.#track!, width, height };
    if (this.#facts) this.#beginEpoch();
  }

  #noteCondition(condition: PictureCondition): void {
    if (condition === this.#condition) return;
    this.#condition = condition;
    this.#options.tell({ type: 'condition', camera: this.camera, condition });
  }

  /** False: there was no room for it. */
  async #sendPicture(picture: Frame, frame: NamedFrame): Promise<boolean> {
    const { outlet } = this.#options;
    // Before the work.
    if (!outlet.hasRoom('picture')) {
      this.#picturesDropped += 1;
      return false;
    }
    const beganMs = performance.now();
    const { keys, keyMs } = this.#plan.turn;
    const { width, height, bytes, source } = await this.#rgb.scale(picture, this.#scale);
    const scaleMs = performance.now() - beganMs;
    this.#scaleMs += scaleMs;
    const { decoded, decodeMs } = this.#decoder.counts;
    const data = { kind: 'picture' as const, ...nameOf(frame), width, height, source, keys, keyMs, bytes };
    // The mean: one frame alone may need others to be decoded.
    const isSent = outlet.send({ ...data, decodeMs: decodeMs / decoded + scaleMs });
    if (isSent) this.#pictures += 1;
    else this.#picturesDropped += 1;
    return isSent;
  }

  /** The one that was asked for first. */
  async #sendStill(picture: Frame, frame: NamedFrame): Promise<void> {
    const { request, widthMax, isDrawn, timer } = this.#stills[0]!;
    const scaled = await this.#rgb.scale(picture, stillScale(widthMax));
    this.#stills.shift();
    clearTimeout(timer);
    const drawing: Drawing = isDrawn
      ? this.#board.drawingFor(boardFrame(frame), STILL_BOXES_MS_MAX)
      : { boxes: 'none', results: [] };
    if (isDrawn) this.#drawnStills.given(frame);
    this.#giveStill(request, { frame, ...drawnStill(scaled, drawing, !this.#masks.isEmpty) }, drawing.boxes);
  }

  #giveStill(request: number, { frame, width, height, jpeg: bytes }: DrawnStill, boxes: DrawnBoxes): void {
    const still = { kind: 'still' as const, ...nameOf(frame), request, boxes, width, height, bytes };
    if (!this.#options.outlet.send(still)) this.#failStill(request, 'the server has no room for it now');
  }

  #decodeNewestKey(): void {
    const frame = this.#newestKey;
    if (!frame || this.#end || this.#stills.length === 0) return;
    if (this.#plan.mode !== 'keys') this.#plan.break();
    this.#decode({ frame, how: 'single' });
    void this.#failUnanswered();
  }

  /** A key frame that gave none. */
  async #failUnanswered(): Promise<void> {
    await this.#isDecoding;
    for (const { request, timer } of this.#stills.splice(0)) {
      clearTimeout(timer);
      this.#failStill(request, 'its newest key frame gives no picture');
    }
  }

  #failStill(request: number, reason: string): void {
    this.#options.tell({ type: 'still_failed', camera: this.camera, request, code: 'CAMERA_NO_PICTURE', reason });
  }
}

function stillScale(widthMax: number): PictureScale {
  return { width: widthMax, height: widthMax * 4, fit: 'contain' };
}

function boardFrame({ epoch, seq, times }: NamedFrame): BoardFrame {
  return { epoch, seq, shownMs: (times.presentation * 1000) / TICKS_PER_S };
}

function nameOf({ camera, epoch, seq, arrivedMs, capturedBeforeMs, clock }: NamedFrame) {
  return { camera, epoch, seq, arrivedMs, capturedBeforeMs, clock };
}

/** The camera's own time, where it can be true. */
function capture(
  cameraMs: number | undefined,
  arrivedMs: number,
): { readonly capturedBeforeMs: number; readonly clock: CaptureClock } {
  if (cameraMs !== undefined) {
    const capturedBeforeMs = arrivedMs + aheadOfMonotonicMs(Date.now) - cameraMs;
    if (capturedBeforeMs >= -CAPTURE_AHEAD_MS_MAX && capturedBeforeMs <= CAPTURE_AGE_MS_MAX) {
      return { capturedBeforeMs: Math.max(0, capturedBeforeMs), clock: 'camera' };
    }
  }
  return { capturedBeforeMs: 0, clock: 'arrival' };
}
