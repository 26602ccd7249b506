import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import { WHIP_ADDRESS } from '../../config/camera-urls.ts';
import { classOf, type PriorityClass } from '../../base/sample.ts';
import type { MemoryAccount, MemoryLedger } from '../../fences/memory-ledger.ts';
import type { Log } from '../../log/log.ts';
import { redactText } from '../../log/redact.ts';
import type { FrameTracer } from '../../observe/traces/tracer.ts';
import type { FrameStreams } from '../../stream/frame-streams.ts';
import type { Reader } from '../../stream/reader.ts';
import type { Stream } from '../../stream/stream.ts';
import { AnnotatedGrant } from './annotated-grant.ts';
import { CameraCounts } from './camera-counts.ts';
import {
  inputOf,
  isSameCamera,
  isSameList,
  needsConnection,
  type CameraSettings,
  type FleetSettings,
} from './camera-settings.ts';
import {
  firstStatus,
  HEALTHY_MS,
  nextStatus,
  retryInMs,
  StallWatch,
  type CameraEvent,
  type CameraStatus,
  type Reason,
} from './camera-state.ts';
import type { CameraDocument, CameraStanding } from './documents.ts';
import { CHANNEL_FORMS, type ChannelForm, type NamedOutcome, type RawFragment } from '../../base/camera-frame.ts';
import type { CameraFeed, Still } from './feed.ts';
import { drawable } from './drawings.ts';
import { DRAWN_STILLS_MS } from './drawn-stills.ts';
import type { Inlets } from './inlets.ts';
import type {
  AnnotatedWish,
  FrameData,
  PictureCondition,
  PictureScale,
  ReaderCounts,
  ReaderData,
  StreamFacts,
} from './messages.ts';
import { streamName, type PictureObserver } from './picture-accounts.ts';
import type { HardwarePlaces } from './hardware-places.ts';
import { PictureFeed, type OpenPictures } from './picture-feed.ts';
import { isRateNews, isSameScale, nextRate, orderDelayMs, pictureScale } from './picture-plan.ts';
import { isSuspect, withCrash } from './placement.ts';
import type { PictureShare } from './picture-share.ts';
import type { PictureTurns } from './picture-turns.ts';
import type { ReaderPool, Seat } from './process-pool.ts';
import { RawChannel, type RawBound } from './raw-channel.ts';
import type { Opening, OpeningListener, ProcessLoss } from './reader-link.ts';
import { shownAddress } from './shown-address.ts';
import { Stills, type StillForm } from './stills.ts';

export interface CameraHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly memory: MemoryLedger;
  readonly streams: FrameStreams;
  readonly pool: ReaderPool;
  readonly inlets: Pick<Inlets, 'next'>;
  readonly hardware: HardwarePlaces;
  readonly openPictures: OpenPictures;
  readonly observer: PictureObserver;
  /** undefined: nobody wants traces. */
  readonly tracer: () => FrameTracer | undefined;
  readonly settings: () => FleetSettings;
  /** Those that are read. */
  readonly cameras: () => number;
  /** A moment of CLOCK_MONOTONIC, as processes tell it, by the server's clock. */
  readonly ownTimeOf: (monotonicMs: number) => number;
  /** Errors: TRANSCODE_LIMIT_REACHED; ANNOTATE_LIMIT_REACHED. */
  readonly requirePlace: (id: string, form: EncodedForm) => void;
  /** Runs callbacks of others. */
  readonly guard: (callback: () => void) => void;
  /** Its settings or its state have changed. */
  readonly onChange: (id: string) => void;
  readonly onRetry: (code: ErrorCode) => void;
  readonly onEncodingFailed: (form: EncodedForm) => void;
  /** Fragments of its raw channel have gone. */
  readonly onEvicted: (bound: RawBound, fragments: number) => void;
  /** When the pictures of all cameras come, and how much of the engine they use. */
  readonly turns: PictureTurns;
  readonly share: PictureShare;
}

/** Of what is made of pictures: who wants it has to have a place. */
export type EncodedForm = Exclude<ChannelForm, 'raw'>;

const FAILED = {
  transcoded: { event: 'camera_transcode_failed', code: 'TRANSCODE_FAILED', what: 'encoded anew' },
  annotated: { event: 'camera_annotate_failed', code: 'ANNOTATE_FAILED', what: 'drawn on' },
} as const satisfies Record<EncodedForm, object>;
const SOFTWARE_NAME = 'software';
/** Share of the time until its connection ends after which a camera without frames counts as stalled. */
const STALL_SHARE = 0.5;
const REASON_CHARS = 500;

/** One camera of the fleet: its connection, its state, and what it gives to those who watch it. */
export class Camera implements CameraFeed {
  readonly id: string;
  readonly #host: CameraHost;
  readonly #account: MemoryAccount;
  readonly #channels: Readonly<Record<ChannelForm, RawChannel>>;
  readonly #pictures: PictureFeed;
  readonly #stills: Stills;
  readonly #counts = new CameraCounts();
  readonly #watchers = new Set<() => void>();
  /** Those that go to the reader, while it draws them. */
  #drawn: Reader<NamedOutcome> | undefined;
  readonly #annotatedGrant = new AnnotatedGrant();
  /** Until then somebody may ask for another still that is drawn on. */
  #drawnUntilMs = -Infinity;
  #settings: CameraSettings;
  #status: CameraStatus;
  /** It is turned on, and has a place among those that are read. */
  #isRead = false;
  #seat: Seat | undefined;
  #opening: Opening | undefined;
  /** The last one that a process got: a device, or a port, is free again only when that one has ended. */
  #begun: Opening | undefined;
  #retry: NodeJS.Timeout | undefined;
  #facts: StreamFacts | undefined;
  #epoch = 0;
  #inlet: string | undefined;
  #condition: { readonly condition: PictureCondition; readonly sinceMs: number };
  /** When it was told to look at what it looks at now. */
  #sceneEpoch = 0;
  #stallWatch: StallWatch;
  /** What decodes its frames, and why; undefined: nothing of this connection. */
  #decoding: { readonly by: string; readonly reason: string | null } | undefined;
  /** It would be decoded by a device if there was a place. */
  #isDeviceFull = false;
  /** Times that a device has failed with it, and whether that was in this connection. */
  #deviceFaults = 0;
  #hasLostDevice = false;
  #trouble: Reason | null = null;
  /** In a row. */
  #failures = 0;
  #crashesMs: readonly number[] = [];
  #askedMs = 0;
  #liveSinceMs: number | undefined;
  #connections = 0;
  /** What the process was asked for last, or will be; undefined: nothing since the connection began. */
  #ordered: { readonly rateFps: number; readonly scale: PictureScale } | undefined;
  #orderTimer: NodeJS.Timeout | undefined;
  /** Its next picture is to come earlier than the last order says. */
  #moveTimer: NodeJS.Timeout | undefined;
  /** When the last picture came. */
  #pictureMs = 0;
  #pictureCount = 0;
  #isClosed = false;

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(id: string, settings: CameraSettings, host: CameraHost) {
    this.id = id;
    this.#host = host;
    this.#settings = settings;
    const { clock, random, streams, memory, openPictures, observer, tracer } = host;
    const nowMs = clock.now();
    this.#status = firstStatus(nowMs);
    this.#condition = { condition: 'unknown', sinceMs: nowMs };
    this.#stallWatch = new StallWatch(nowMs);
    this.#account = memory.open('camera', id);
    const account = (): MemoryAccount => this.#account;
    this.#stills = new Stills({ clock, ask: (request, form) => this.#askStill(request, form) });
    const opened: RawChannel[] = [];
    const channel = (form: ChannelForm): RawChannel => {
      const one = new RawChannel({
        camera: id,
        form,
        clock,
        streams,
        account,
        bytesMax: () => host.settings().rawBytesMax,
        captureTimeMs: (data) => this.#captureTimeMs(data),
        onWanted: (isWanted) => this.#onWanted(form, isWanted),
        onEvicted: host.onEvicted,
      });
      opened.push(one);
      return one;
    };
    try {
      this.#channels = { raw: channel('raw'), transcoded: channel('transcoded'), annotated: channel('annotated') };
      this.#pictures = new PictureFeed({
        camera: id,
        clock,
        random,
        streams,
        account,
        open: openPictures,
        observer,
        tracer,
        priority: () => this.#settings.priority,
        isAway: () => this.#status.state !== 'live',
        use: () => ({ used: host.share.used, cameras: host.cameras(), isDrawn: this.isWatched('annotated') }),
        maxFps: () => this.#settings.maxFps,
        onChange: () => this.#orderPictures(),
        onMissed: () => this.#orderAnew(),
        onDone: (done) => host.share.note(done),
        onTrouble: (reason) => this.#onTrouble(reason),
      });
    } catch (thrown) {
      for (const one of opened) one.close();
      this.#account.close();
      throw thrown;
    }
    this.#pictures.configure(settings.pipelines, settings.model);
  }

  get raw(): Stream<RawFragment> {
    return this.#channels.raw.stream;
  }

  get transcoded(): Stream<RawFragment> {
    return this.#channels.transcoded.stream;
  }

  get annotated(): Stream<RawFragment> {
    return this.#channels.annotated.stream;
  }

  get results(): Stream<NamedOutcome> {
    return this.#pictures.results;
  }

  get status(): CameraStatus {
    return this.#status;
  }

  get isMasked(): boolean {
    return this.masks.length > 0;
  }

  get masks(): readonly string[] {
    return this.#settings.masks;
  }

  /** Has a place among the cameras that are read. */
  get isRead(): boolean {
    return this.#isRead;
  }

  get inlet(): string | undefined {
    return this.#isPublished ? (this.#inlet ??= this.#host.inlets.next()) : undefined;
  }

  /** It has no place of its own: whoever publishes to it comes to the server. */
  get #isPublished(): boolean {
    return this.#settings.url === WHIP_ADDRESS;
  }

  watchState(onChange: () => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  watchRaw(): () => void {
    return this.#channels.raw.watch();
  }

  watchTranscoded(onFailed: (error: SightlineError) => void): () => void {
    return this.#watchEncoded('transcoded', onFailed);
  }

  watchAnnotated(onFailed: (error: SightlineError) => void): () => void {
    return this.#watchEncoded('annotated', onFailed);
  }

  #watchEncoded(form: EncodedForm, onFailed: (error: SightlineError) => void): () => void {
    if (!this.isWatched(form)) this.#host.requirePlace(this.id, form);
    return this.#channels[form].watch(onFailed);
  }

  /** Somebody has asked for it in this form. */
  isWatched(form: ChannelForm): boolean {
    return this.#channels[form].isWanted;
  }

  async still(widthMax: number, isDrawn = false): Promise<Still> {
    const { state, reason } = this.#status;
    if (state === 'live' || state === 'stalled') return await this.#stills.get({ widthMax, isDrawn });
    if (state === 'off') throw new SightlineError('CAMERA_OFF', `camera ${this.id} is turned off`);
    if (reason) throw new SightlineError(reason.code, `camera ${this.id}: ${reason.message}`);
    throw new SightlineError('CAMERA_NO_PICTURE', `camera ${this.id} is ${state}: it has shown no picture yet`);
  }

  /** Pictures and fragments that came from processes, beside what became of them. */
  accounts() {
    const { raw: ofRaw, transcoded: ofTranscoded, annotated: ofAnnotated } = this.#channels;
    const [raw, transcoded, annotated] = [ofRaw.accounts(), ofTranscoded.accounts(), ofAnnotated.accounts()];
    return {
      totals: {
        ...this.#counts.totals,
        pictures: this.#pictureCount,
        fragments: raw.published + raw.strays,
        transcoded: transcoded.published + transcoded.strays,
        annotated: annotated.published + annotated.strays,
      },
      pictures: this.#pictureCount,
      ...this.#pictures.accounts(),
      raw,
      transcoded,
      annotated,
      viewers: ofRaw.viewers,
      connections: this.#connections,
    };
  }

  /** What decodes it; undefined: nothing is decoded. */
  get decodedBy(): string | undefined {
    return this.#decoding?.by;
  }

  /** As alerts tell it. */
  tally(): { client_id: string; class: PriorityClass; frames: number; bad: number } {
    return { client_id: streamName(this.id), class: classOf(this.#settings.priority), ...this.#pictures.tally() };
  }

  standing(): CameraStanding {
    const { clock } = this.#host;
    const { state, sinceMs, reason, untilMs } = this.#status;
    const facts = this.#facts;
    return {
      state,
      since: wallTimeMs(clock, sinceMs),
      reason,
      until: untilMs === null ? null : wallTimeMs(clock, untilMs),
      picture: { condition: this.#condition.condition, since: wallTimeMs(clock, this.#condition.sinceMs) },
      stream: facts
        ? {
            format: facts.format,
            codec: facts.codec,
            codec_string: facts.codecString,
            width: facts.width,
            height: facts.height,
            clock: facts.clock,
            epoch: this.#epoch,
          }
        : null,
    };
  }

  report(): CameraDocument {
    const nowMs = this.#host.clock.now();
    const { url, priority, pipelines } = this.#settings;
    const { totals } = this.accounts();
    const { received, decoded, damaged, pictures, picturesDropped, fragments, fragmentsDropped } = totals;
    const rates = this.#counts.rates(nowMs);
    const granted = this.#pictures.grantedFps;
    const annotated = this.isWatched('annotated') ? this.#annotatedWish : undefined;
    return {
      id: this.id,
      url: shownAddress(url),
      class: classOf(priority),
      pipelines: [...pipelines],
      ...this.standing(),
      decoding: this.#decoding ?? null,
      process: this.#opening ? (this.#seat?.link.pid ?? null) : null,
      rates: {
        received_fps: rates.received,
        received_bits_per_s: rates.receivedBytes * 8,
        decoded_fps: rates.decoded,
        pictures_fps: rates.pictures,
        granted_fps: granted === undefined || granted === Infinity ? null : granted,
        annotated_fps: annotated?.fpsMax ?? null,
        annotated_side: annotated?.sideMax ?? null,
      },
      frames: {
        received,
        decoded,
        damaged,
        // Counted here: what a process has counted last is lost with it.
        pictures,
        pictures_dropped: picturesDropped,
        fragments,
        fragments_dropped: fragmentsDropped,
        transcoded: totals.transcoded,
        transcoded_dropped: totals.transcodedDropped,
        annotated: totals.annotated,
        annotated_dropped: totals.annotatedDropped,
      },
      connections: this.#connections,
      viewers: this.#channels.raw.viewers,
      transcoding: this.isWatched('transcoded'),
      annotating: this.isWatched('annotated'),
      masked: this.isMasked,
    };
  }

  /** `hasPlace`: it is one of those that are read. `isRetried`: what has refused it may let it in now. */
  configure(settings: CameraSettings, hasPlace: boolean, isRetried: boolean): void {
    const before = this.#settings;
    this.#settings = settings;
    if (!isSameList(before.masks, settings.masks)) {
      // Those that came before have other masks, or none.
      for (const channel of Object.values(this.#channels)) channel.forget();
    }
    this.#pictures.configure(settings.pipelines, settings.model);
    if (!settings.isEnabled || !hasPlace) {
      this.#leave();
      if (settings.isEnabled) this.#refuse();
      else this.#change({ kind: 'off' });
    } else if (!this.#isRead || needsConnection(before, settings) || (isRetried && hasFailed(this.#status))) {
      this.#begin();
    }
    this.#orderAnnotated();
    if (isSameCamera(before, settings)) return;
    this.#tell();
    this.#host.onChange(this.id);
  }

  /** To be called once a second. */
  tick(nowMs: number): void {
    this.#stills.expire();
    this.#followResults();
    this.#pictures.tick();
    this.#orderPictures();
    if (this.#isDeviceFull) this.orderDecoder();
    if (this.#liveSinceMs !== undefined && nowMs - this.#liveSinceMs >= HEALTHY_MS) this.#failures = 0;
    const { stallTimeoutMs } = this.#host.settings();
    const silentMs = this.#stallWatch.silentMs(nowMs);
    if (this.#status.state === 'live' && silentMs > STALL_SHARE * stallTimeoutMs) {
      const message = `no frame has come for ${(silentMs / 1000).toFixed(1)} s`;
      this.#change({ kind: 'stalled', reason: { code: 'CAMERA_STALLED', message } });
    }
  }

  /** What decodes it follows from what the machine has, and who else has a place there. `isAnew`: that has changed. */
  orderDecoder(isAnew = false): void {
    if (isAnew) {
      this.#deviceFaults = 0;
      this.#hasLostDevice = false;
    }
    const facts = this.#facts;
    if (!this.#opening || !facts || this.#hasLostDevice || this.#isClosed) return;
    const { type, reason, isFull } = this.#host.hardware.choose(this.id, facts.codec, this.#deviceFaults);
    this.#isDeviceFull = isFull;
    // The reader tells when another one really decodes it.
    this.#decoding = { by: this.#decoding?.by ?? SOFTWARE_NAME, reason };
    this.#opening.decoder(type);
  }

  /** Its streams end. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#leave();
    this.#pictures.close();
    for (const channel of Object.values(this.#channels)) channel.close();
    this.#drawn?.close();
    this.#account.close();
    this.#watchers.clear();
  }

  /** Takes no more pictures: what is under way gets its answer. */
  drain(): void {
    this.#leave();
  }

  /** There are too many. */
  #refuse(): void {
    const { streamsMax } = this.#host.settings();
    const message = `only ${streamsMax} cameras are read at once`;
    const { reason } = this.#status;
    if (reason?.code !== 'CAMERA_LIMIT_REACHED' || reason.message !== message) {
      this.#fail({ code: 'CAMERA_LIMIT_REACHED', message });
    }
  }

  /** Anew, whatever there was before. */
  #begin(): void {
    this.#isRead = true;
    this.#disconnect();
    this.#forgetCondition();
    this.#sceneEpoch = 0;
    this.#failures = 0;
    this.#connect();
  }

  #connect(): void {
    clearTimeout(this.#retry);
    const { pool, clock } = this.#host;
    const nowMs = clock.now();
    const suspect = isSuspect(this.#crashesMs, nowMs);
    // In its own process it stays until it has lost its connection without bringing that down, long enough.
    if (this.#seat && suspect !== (this.#seat.link.kind === 'own')) this.#release();
    this.#seat ??= pool.place(suspect);
    this.#epoch = Math.max(Math.floor(wallTimeMs(clock)), this.#epoch + 1);
    this.#askedMs = nowMs;
    const scene = `${this.id}/${(this.#sceneEpoch ||= this.#epoch)}`;
    const { inlet } = this;
    const input = { ...inputOf(this.#settings, this.#host.settings()), scene, ...(inlet !== undefined && { inlet }) };
    const listener = this.#listener(() => this.#opening === opening);
    const opening: Opening = this.#seat.link.open(this.#epoch, input, listener, this.#begun);
    this.#opening = opening;
    for (const form of CHANNEL_FORMS) if (this.isWatched(form)) this.#order(form, true);
    this.#ordered = undefined;
    if (!hasFailed(this.#status) || this.#status.untilMs === null || this.#status.untilMs <= nowMs) {
      this.#change({ kind: 'connecting' });
    }
  }

  /** `isCurrent`: what comes after its end is of no account. */
  #listener(isCurrent: () => boolean): OpeningListener {
    const when =
      <A extends unknown[]>(act: (...args: A) => void) =>
      (...args: A): void => {
        if (isCurrent()) act(...args);
      };
    return {
      begun: when(() => {
        this.#begun = this.#opening;
        this.#change({ kind: 'connecting' });
      }),
      publisher: when((isThere) => this.#onPublisher(isThere)),
      live: when((epoch, facts) => this.#onLive(epoch, facts)),
      ended: when((code, reason) => this.#onEnded(code, reason)),
      lost: when((loss) => this.#onLost(loss)),
      condition: when((condition) => this.#onCondition(condition)),
      decoder: when((by, fault) => this.#onDecoder(by, fault)),
      transcodeFailed: when((reason) => this.#onEncodingFailed('transcoded', shortened(reason))),
      annotateFailed: when((reason) => this.#onEncodingFailed('annotated', shortened(reason))),
      counts: when((counts) => this.#onCounts(counts)),
      stillFailed: when((request, code, reason) => this.#stills.failed(request, code, shortened(reason))),
      data: when((data) => this.#onData(data)),
    };
  }

  #onPublisher(isThere: boolean): void {
    this.#askedMs = this.#host.clock.now();
    this.#change({ kind: isThere ? 'anew' : 'waiting' });
  }

  #onLive(epoch: number, facts: StreamFacts): void {
    const { clock, log } = this.#host;
    const nowMs = clock.now();
    this.#epoch = Math.max(this.#epoch, epoch);
    const isNewFacts = !isSameFacts(this.#facts, facts);
    this.#facts = facts;
    if (this.#liveSinceMs === undefined) {
      this.#connections++;
      this.#liveSinceMs = nowMs;
      // It waits for its first picture from now on.
      this.#pictureMs = nowMs;
      this.#stallWatch = new StallWatch(nowMs);
      const { codec, width, height } = facts;
      log.write('camera_live', {
        camera: this.id,
        codec,
        size: `${width}×${height}`,
        took_ms: Math.round(nowMs - this.#askedMs),
      });
    }
    const wasLive = this.#status.state === 'live';
    this.#becomeLive();
    if (wasLive && isNewFacts) this.#tell();
    this.orderDecoder();
    this.#orderPictures();
  }

  #becomeLive(): void {
    this.#change({ kind: 'live' });
    if (this.#trouble) this.#change({ kind: 'trouble', reason: this.#trouble });
  }

  #onEnded(code: ErrorCode | null, reason: string): void {
    this.#over();
    if (code === null) {
      this.#release();
      this.#host.log.write('camera_ended', { camera: this.id });
      this.#change({ kind: 'ended' });
      return;
    }
    if (this.#isPublished) {
      // The next publisher shows something else.
      this.#sceneEpoch = 0;
      this.#forgetCondition();
      // Publishers come and go: that is no failure.
      if (code === 'CAMERA_ENDED') {
        this.#change({ kind: 'anew' });
        return this.#connect();
      }
    }
    this.#failures++;
    this.#fail({ code, message: shortened(reason) });
  }

  #onLost({ cause, text, restartInMs, wasOpen }: ProcessLoss): void {
    const nowMs = this.#host.clock.now();
    this.#over();
    this.#forgetCondition();
    if (wasOpen) this.#crashesMs = withCrash(this.#crashesMs, nowMs);
    const reason: Reason = { code: 'CAMERA_PROCESS_LOST', message: `the process that read it ${text}` };
    this.#host.onRetry(reason.code);
    const isMoving = isSuspect(this.#crashesMs, nowMs) && this.#seat?.link.kind === 'pool';
    if (isMoving) this.#host.log.write('camera_isolated', { camera: this.id, cause });
    // The reason stays with it until it is live again.
    this.#change({ kind: 'lost', reason, retryInMs: isMoving ? 0 : restartInMs });
    this.#connect();
  }

  #onCondition(condition: PictureCondition): void {
    const before = this.#condition.condition;
    if (condition === before) return;
    this.#condition = { condition, sinceMs: this.#host.clock.now() };
    // The first look at a sound picture is no news.
    if (isFault(before) || isFault(condition)) this.#host.log.write('camera_condition', { camera: this.id, condition });
    this.#tell();
  }

  #onDecoder(by: string, fault: string | null): void {
    const { hardware, log } = this.#host;
    if (fault === null) {
      this.#decoding = { by, reason: this.#decoding?.reason ?? null };
      return;
    }
    const reason = shortened(fault);
    this.#decoding = { by, reason };
    this.#deviceFaults++;
    // With its next connection it may try again, a few times.
    this.#hasLostDevice = true;
    this.#opening?.decoder(null);
    hardware.leave(this.id);
    hardware.noteFault();
    log.write('camera_decoder_lost', { camera: this.id, reason });
  }

  /** Whoever watches it next begins anew. */
  #forgetCondition(): void {
    if (this.#condition.condition === 'unknown') return;
    this.#condition = { condition: 'unknown', sinceMs: this.#host.clock.now() };
  }

  #onEncodingFailed(form: EncodedForm, reason: string): void {
    const { log, onEncodingFailed } = this.#host;
    const { event, code, what } = FAILED[form];
    log.write(event, { camera: this.id, reason });
    onEncodingFailed(form);
    this.#channels[form].fail(new SightlineError(code, `camera ${this.id} cannot be ${what}: ${reason}`));
  }

  #onWanted(form: ChannelForm, isWanted: boolean): void {
    if (form === 'annotated') {
      this.#annotatedGrant.reset();
      this.#followResults();
      this.#orderPictures();
    }
    this.#order(form, isWanted);
  }

  #order(form: ChannelForm, isWanted: boolean): void {
    if (form === 'annotated') this.#opening?.annotated(isWanted ? this.#annotatedWish : null);
    else this.#opening?.[form](isWanted);
  }

  /** Its settings, or those of all, may be others. */
  #orderAnnotated(): void {
    if (this.isWatched('annotated')) this.#order('annotated', true);
  }

  get #annotatedWish(): AnnotatedWish {
    const { annotatedFps, annotatedSide } = this.#host.settings();
    const { fps, side } = this.#annotatedGrant.form({ fps: annotatedFps, side: annotatedSide });
    return { fpsMax: fps, sideMax: side, pipelines: this.#settings.pipelines };
  }

  #askStill(request: number, { widthMax, isDrawn }: StillForm): boolean {
    if (isDrawn) {
      this.#drawnUntilMs = this.#host.clock.now() + DRAWN_STILLS_MS;
      this.#followResults();
    }
    const drawn = isDrawn ? this.#settings.pipelines : null;
    return this.#opening?.still({ request, widthMax, drawn }) ?? false;
  }

  /** Results go to the process that draws them, as soon as they are there, while somebody wants that. */
  #followResults(): void {
    const isWanted = this.isWatched('annotated') || this.#host.clock.now() < this.#drawnUntilMs;
    if (isWanted === (this.#drawn !== undefined)) return;
    this.#drawn?.close();
    this.#drawn = undefined;
    if (!isWanted || this.results.closed) return;
    const drawn = this.results.subscribe({
      name: 'annotations',
      contract: { kind: 'all' },
      onReady: () => take(),
    });
    this.#drawn = drawn;
    const take = (): void => {
      for (let sample = drawn.next(); sample !== undefined; sample = drawn.next()) {
        const { frame, pipeline, outcome } = sample.data;
        const result = outcome.kind === 'result' ? drawable(outcome.result) : null;
        this.#opening?.result({ epoch: frame.epoch, seq: frame.seq, pipeline, result });
      }
    };
  }

  #onCounts(counts: ReaderCounts): void {
    const nowMs = this.#host.clock.now();
    this.#counts.note(counts, nowMs);
    const { stallTimeoutMs } = this.#host.settings();
    const isOther = this.isWatched('annotated') && this.#annotatedGrant.note(counts, nowMs, this.#settings.priority);
    if (isOther) this.#orderAnnotated();
    this.#stallWatch.note(counts.received, nowMs);
    const isBack = this.#status.state === 'stalled' && this.#stallWatch.silentMs(nowMs) <= STALL_SHARE * stallTimeoutMs;
    if (isBack) this.#becomeLive();
  }

  #onData(data: ReaderData): void {
    // The process may have taken a new epoch, and end before it has told that.
    this.#epoch = Math.max(this.#epoch, data.epoch);
    switch (data.kind) {
      case 'init':
        return this.#channels[data.form].init(data);
      case 'fragment':
        return this.#channels[data.form].fragment(data);
      case 'picture':
        this.#pictureCount++;
        this.#pictureMs = this.#host.clock.now();
        this.#pictures.push(data, this.#captureTimeMs(data));
        return this.#placeTurn(data);
      case 'still': {
        const { request, epoch, seq, clock, width, height, boxes, bytes } = data;
        return this.#stills.came(request, {
          frame: { camera: this.id, epoch, seq },
          captureTimeMs: this.#captureTimeMs(data),
          clock,
          width,
          height,
          boxes,
          jpeg: new Uint8Array(bytes),
        });
      }
    }
  }

  #captureTimeMs({ arrivedMs, capturedBeforeMs }: FrameData): number {
    return this.#host.ownTimeOf(arrivedMs) - capturedBeforeMs;
  }

  #onTrouble(reason: Reason | null): void {
    if (reason && reason.code !== this.#trouble?.code) {
      this.#host.log.write('camera_pipelines_failed', { camera: this.id, code: reason.code, reason: reason.message });
    }
    this.#trouble = reason;
    this.#change({ kind: 'trouble', reason });
  }

  /** Tries again, or does not. */
  #fail(reason: Reason): void {
    const { random, log, onRetry } = this.#host;
    const retryMs = retryInMs(reason.code, this.#failures, random(), this.#isPublished);
    const said = { camera: this.id, url: shownAddress(this.#settings.url), code: reason.code, reason: reason.message };
    if (retryMs === undefined) {
      log.write('camera_given_up', said);
      this.#release();
      this.#change({ kind: 'lost', reason, retryInMs: undefined });
      return;
    }
    log.write('camera_lost', { ...said, retry_ms: Math.round(retryMs) });
    this.#change({ kind: 'lost', reason, retryInMs: retryMs });
    onRetry(reason.code);
    if (retryMs === 0) this.#connect();
    else this.#retry = setTimeout(() => this.#connect(), retryMs);
  }

  #orderPictures(): void {
    // Before, nobody knows when its frames come: cameras that begin together would stay together.
    if (!this.#opening || this.#liveSinceMs === undefined || this.#isClosed) return;
    const { rateFps: wantedFps, modelSize } = this.#pictures;
    const ordered = this.#ordered;
    const cameras = this.#host.cameras();
    const rateFps = nextRate(ordered?.rateFps, wantedFps, cameras);
    const scale = pictureScale(modelSize, this.#facts);
    const isRate = !ordered || isRateNews(ordered.rateFps, rateFps);
    if (!isRate && isSameScale(ordered.scale, scale)) return;
    if (!isRate) {
      this.#ordered = { rateFps: ordered.rateFps, scale };
      if (this.#orderTimer === undefined) this.#opening.pictures(ordered.rateFps, scale);
      return;
    }
    this.#ordered = { rateFps, scale };
    const { clock, random } = this.#host;
    const isFirst = !ordered || ordered.rateFps === 0;
    const sinceLastMs = isFirst ? undefined : clock.now() - this.#pictureMs;
    const delayMs = orderDelayMs(rateFps, cameras, sinceLastMs, random());
    clearTimeout(this.#orderTimer);
    clearTimeout(this.#moveTimer);
    this.#orderTimer = undefined;
    if (delayMs === 0) return this.#opening.pictures(rateFps, scale);
    // Until then none.
    this.#opening.pictures(0, scale);
    this.#orderTimer = setTimeout(() => {
      this.#orderTimer = undefined;
      const latest = this.#ordered;
      if (latest) this.#opening?.pictures(latest.rateFps, latest.scale);
    }, delayMs);
  }

  /** Its pictures come at once with those of others: they come earlier from now on, where fewer do. */
  #placeTurn(data: Extract<ReaderData, { kind: 'picture' }>): void {
    const { turns, ownTimeOf, clock } = this.#host;
    const atMs = ownTimeOf(data.arrivedMs);
    const earlier = turns.came(this.id, atMs, data, this.#pictures.serviceMs);
    clearTimeout(this.#moveTimer);
    if (earlier === 0) return;
    // Between that key frame and the one before it.
    const orderMs = atMs + (data.keys - earlier - 1 / 2) * data.keyMs;
    this.#moveTimer = setTimeout(() => this.#orderAnew(), Math.max(0, orderMs - clock.now()));
  }

  /** At the same rate, and from its next picture on. */
  #orderAnew(): void {
    if (!this.#opening || !this.#ordered || this.#orderTimer !== undefined) return;
    const { rateFps, scale } = this.#ordered;
    this.#opening.pictures(0, scale);
    this.#opening.pictures(rateFps, scale);
  }

  /** Its connection is over, by whosever doing. */
  #over(): void {
    clearTimeout(this.#orderTimer);
    clearTimeout(this.#moveTimer);
    this.#host.turns.leave(this.id);
    this.#orderTimer = undefined;
    this.#opening = undefined;
    this.#liveSinceMs = undefined;
    this.#facts = undefined;
    this.#decoding = undefined;
    this.#isDeviceFull = false;
    this.#hasLostDevice = false;
    this.#host.hardware.leave(this.id);
    this.#counts.end();
    this.#stills.reset();
  }

  #disconnect(): void {
    clearTimeout(this.#retry);
    this.#opening?.close();
    this.#over();
  }

  /** The process knows nothing of it any more. */
  #release(): void {
    this.#seat?.leave();
    this.#seat = undefined;
    this.#forgetCondition();
  }

  #leave(): void {
    this.#isRead = false;
    this.#disconnect();
    this.#release();
  }

  #change(event: CameraEvent): void {
    const next = nextStatus(this.#status, event, this.#host.clock.now());
    if (next === this.#status || this.#isClosed) return;
    this.#status = next;
    this.#tell();
  }

  #tell(): void {
    for (const onChange of this.#watchers) this.#host.guard(onChange);
  }
}

function hasFailed({ state }: CameraStatus): boolean {
  return state === 'backing_off' || state === 'failed';
}

function isFault(condition: PictureCondition): boolean {
  return condition !== 'unknown' && condition !== 'ok';
}

function isSameFacts(one: StreamFacts | undefined, other: StreamFacts): boolean {
  const keys = ['width', 'height', 'codec', 'codecString', 'clock'] as const;
  return keys.every((key) => one?.[key] === other[key]);
}

function shortened(reason: string): string {
  return redactText(reason, REASON_CHARS);
}
