import type { WebSocket } from 'ws';
import { faultOfCritical } from './priority.ts';
import type { Principal } from '../auth/principal.ts';
import { wallAheadMs, wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError, type ErrorCode } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineName } from '../base/result.ts';
import type { Fences } from '../fences/fences.ts';
import { CostlyGate } from '../flow/costly.ts';
import type { SessionControl, SessionControlSettings } from '../flow/session-control.ts';
import type { Log } from '../log/log.ts';
import { addAccounts, type FrameAccounts } from '../observe/frame-accounts.ts';
import type { FrameTrace, TracedFrame, TracedOutcome } from '../observe/traces/frame-trace.ts';
import { inOwnMemory } from '../protocol/batch.ts';
import { limitElements } from '../protocol/elements.ts';
import { decodeBinaryFrame, decodeTextMessage, encodeServerMessage } from '../protocol/video-codec.ts';
import {
  PROTOCOL_VERSION,
  type BadFrame,
  type DropCause,
  type GrantFields,
  type IncomingFrame,
  type MessageFormat,
  type Pin,
  type ServerMessage,
  type StagesMs,
  type VideoClockRequest,
} from '../protocol/video.ts';
import { Priority, type Sample } from '../base/sample.ts';
import type { Stream } from '../stream/stream.ts';
import { outcomeMessage } from '../protocol/outcome-message.ts';
import { PipelineAnswers, type AttachedPipeline } from './pipeline-answers.ts';
import { endMessage, endSocket, SessionSocket } from './session-socket.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';
import { TracedFrames } from './traced-frames.ts';

/** A capture time further back than this cannot be meant on the server's clock. */
const CAPTURE_AGE_MAX_MS = 60_000;
/** Clocks that are in step still differ by a little: a capture time so close in the future is the arrival. */
const CAPTURE_AHEAD_MAX_MS = 50;
const DROPPED_SEQS_MAX = 1_000;
/** Elements of a long text message: a frame in JSON has a picture as one text, and a few numbers. */
const TEXT_ELEMENTS_MAX = 1_000;
/** Losses that a client may leave unread before it is not read any more either. */
const UNTOLD_SEQS_MAX = 10_000;

export interface VideoSessionSettings {
  readonly control: SessionControlSettings;
  readonly frameQueue: number;
  readonly messageBytesMax: number;
  readonly imageSideMax: number;
  readonly imagePixelsMax: number;
  readonly idleTimeoutMs: number;
  readonly sendBufferBytesMax: number;
  readonly pingIntervalMs: number;
  readonly pongTimeoutMs: number;
}

/** Services that the session needs. */
export interface AttachedWork {
  /** At least one. */
  readonly pipelines: readonly AttachedPipeline[];
  /** Frames that wait for a worker. */
  readonly queued: () => number;
  /** Recent time of a frame in the engine. */
  readonly serviceMs: () => number;
  /** Worker time of that, milliseconds; undefined: nothing is known. */
  readonly costMs: () => number | undefined;
  /** Has it brought pictures of late that hold a worker for far longer than others do? Is this one of them? */
  readonly isCostly: () => boolean;
  readonly isDear: (picture: Picture) => boolean;
  discardQueued(): void;
  detach(): void;
}

/**
 * Width and height of the upright picture from a JPEG's headers, and the nominal cost of decoding it (left out: little). Throws
 * SightlineError FRAME_*.
 */
export type ReadJpeg = (bytes: Uint8Array) => {
  readonly width: number;
  readonly height: number;
  readonly decodeMs?: number;
};

/** Where the latencies go. */
export interface VideoObserver {
  /** A frame has its result. `priority`: of its stream. True: it is later than the objective of its class allows. */
  frame(result: ObservedResult, priority: Priority): boolean;
  encoded(ms: number): void;
  transmitted(ms: number): void;
}

/** Traces frames. */
export interface FrameTracing {
  /** `traceparent`: as it came with the frame. */
  begin(traceparent: unknown): FrameTrace;
  end(frame: TracedFrame): void;
}

export interface ObservedResult {
  readonly client_id: string;
  readonly pipeline: PipelineName;
  readonly seq: number;
  readonly stages_ms: StagesMs;
}

export interface VideoSessionParts {
  readonly clientId: string;
  readonly fences: Fences;
  readonly frames: Stream<Picture>;
  readonly attached: AttachedWork;
  readonly control: SessionControl;
  /** Class of the frames that name none. */
  readonly priority: Priority;
  readonly settings: VideoSessionSettings;
  readonly clock: Clock;
  readonly observer: VideoObserver;
  readonly readJpeg: ReadJpeg;
  readonly log: Log | undefined;
  /** undefined: nobody wants traces. */
  readonly tracing: FrameTracing | undefined;
  /** The session has ended: its accounts are final. */
  readonly onClosed: (session: VideoSession) => void;
}

export interface PipelineAccounts {
  readonly pipeline: PipelineName;
  readonly model: string;
  readonly accounts: FrameAccounts;
  /** Results that came later than the objective of their class allows. */
  readonly late: number;
  /** Frames that the server dropped. */
  readonly lost: number;
  /** Errors that are no refusals. */
  readonly failed: number;
}

/** One client's session: lives on for a while when its socket is lost. */
export class VideoSession {
  readonly clientId: string;
  readonly link: SessionSocket;
  readonly #parts: VideoSessionParts;
  /** Of each pipeline, in the order of the query. */
  readonly #answers: readonly PipelineAnswers[];
  /** When each result was sent that the socket still holds, oldest first; the send buffer bounds them. */
  readonly #unsentTimesMs: number[] = [];
  #format: MessageFormat = 'json';
  /** Why frames of class critical are refused; undefined: they are not. */
  #priorityFault: SightlineError | undefined;
  #lastSeq = 0;
  /** How far the time of day was ahead of our own clock when the client last asked for it: its times are based on that. */
  #toldAheadMs: number | undefined;
  #received = 0;
  /** Of those, frames that no pipeline has seen: each still needs an error. */
  #refusedFrames = 0;
  #captureTimesReplaced = 0;
  #refusedMessages = 0;
  readonly #gate = new CostlyGate();
  readonly #traced = new TracedFrames();
  #refusedCostly = 0;
  #isDraining = false;
  #flushScheduled = false;
  #isClosed = false;

  constructor(parts: VideoSessionParts) {
    this.#parts = parts;
    this.clientId = parts.clientId;
    this.link = new SessionSocket({ lane: 'video', clientId: parts.clientId, host: parts, owner: this });
    this.#answers = parts.attached.pipelines.map(
      (pipeline) =>
        new PipelineAnswers(pipeline, {
          ready: () => this.#scheduleFlush(),
          lost: (answers, seqs, cause) => this.#countLost(answers, seqs, cause),
        }),
    );
  }

  /** Names of its pipelines, in the order of the query. */
  get pipelines(): readonly PipelineName[] {
    return this.#answers.map(({ pipeline }) => pipeline.name);
  }

  /** With a comma between them, as in messages to the client. */
  get pipeline(): string {
    return this.pipelines.join();
  }

  get model(): string {
    return this.#answers.map(({ pipeline }) => pipeline.model).join();
  }

  /** The outcomes of its frames by one of its pipelines, default the first. Throws QUERY_BAD. */
  outcomesOf(pipeline: string = this.pipelines[0]!): Stream<FrameOutcome> {
    const found = this.#answers.find(({ pipeline: { name } }) => name === pipeline);
    if (found) return found.pipeline.outcomes;
    throw new SightlineError(
      'QUERY_BAD',
      `pipeline "${pipeline.slice(0, 80)}" is not in this session: it has ${this.pipelines.join(', ')}`,
    );
  }

  /** Of its frames that name none. */
  get priority(): Priority {
    return this.#parts.priority;
  }

  get connected(): boolean {
    return this.link.socket !== undefined;
  }

  get lastActivityMs(): number {
    return this.link.lastActivityMs;
  }

  get captureTimesReplaced(): number {
    return this.#captureTimesReplaced;
  }

  get refusedMessages(): number {
    return this.#refusedMessages;
  }

  /** Frames that were refused because of what their pictures cost. */
  get refusedCostly(): number {
    return this.#refusedCostly;
  }

  get control(): SessionControl {
    return this.#parts.control;
  }

  /** Tells the client of its grant, if that has changed enough. */
  tellGrant(nowMs: number): void {
    if (!this.link.socket) return;
    this.control.unread(nowMs - (this.#unsentTimesMs[0] ?? nowMs));
    const grant = this.control.news(nowMs);
    if (grant) this.#send({ type: 'grant', ...grant });
  }

  /** Pins the quality within the settings' bounds; null removes the pin. The client gets a grant. */
  pin(pin: Pin | null): GrantFields {
    this.control.pin(pin);
    return this.#tellGrantNow();
  }

  /** Other settings for a session that goes on. The client gets a grant. */
  configure(settings: SessionControlSettings): void {
    this.control.configure(settings);
    this.#tellGrantNow();
  }

  /** A client that is away gets it when it comes back. */
  #tellGrantNow(): GrantFields {
    if (!this.link.socket) return this.control.grant();
    const grant = this.control.tell(this.#parts.clock.now());
    this.#send({ type: 'grant', ...grant });
    return grant;
  }

  /** Of all its pipelines: answers that were due, and those of them that were no result in time. Frames that were refused are none. */
  tally(): { readonly frames: number; readonly bad: number } {
    let [frames, bad] = [0, 0];
    for (const { results, late, lost, errors } of this.#answers) {
      frames += results + lost + errors;
      bad += late + lost + errors;
    }
    return { frames, bad };
  }

  /** Of all its pipelines together: each owes an answer for each frame. */
  accounts(): FrameAccounts {
    return this.accountsByPipeline()
      .map(({ accounts }) => accounts)
      .reduce(addAccounts);
  }

  accountsByPipeline(): PipelineAccounts[] {
    const queued = this.#parts.attached.queued();
    return this.#answers.map((answers) => {
      const { name, model } = answers.pipeline;
      const accounts = answers.accounts(this.#received, queued);
      const { late, lost, errors: failed } = answers;
      const errors = failed + this.#refusedFrames;
      return { pipeline: name, model, accounts: { ...accounts, errors }, late, lost, failed };
    });
  }

  /** Attaches a socket to the session and welcomes it; an earlier socket is closed as taken over. */
  connect(
    socket: WebSocket,
    {
      format,
      resumed,
      principal,
      address,
    }: {
      readonly format: MessageFormat;
      readonly resumed: boolean;
      readonly principal: Principal;
      readonly address: string | undefined;
    },
  ): void {
    this.link.connect(socket, principal, address);
    this.#priorityFault = faultOfCritical(principal);
    this.#toldAheadMs = undefined;
    this.#format = format;
    this.#unsentTimesMs.length = 0;
    this.control.restart(this.#parts.clock.now());
    this.#send(this.#welcome(resumed));
  }

  /** From now on it takes no frames; those that it has go on. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Nothing of it waits, or is with a worker. A client that has gone, or does not read, has nothing to wait for. */
  get isDrained(): boolean {
    if (!this.#hasRoom) return true;
    const queued = this.#parts.attached.queued();
    return (
      queued === 0 && this.#answers.every(({ pipeline, reader }) => pipeline.inFlight() === 0 && reader.queued === 0)
    );
  }

  /** Ends the session for good: the client gets the reason, the streams close, every frame is accounted for. Idempotent. */
  close(reason: SightlineError): void {
    // Finished results are sent; the rest is reported as dropped.
    if (this.connected) this.#flush();
    this.#parts.attached.detach();
    if (this.connected) this.#tellLosses();
    this.link.end(reason);
    for (const { reader } of this.#answers) reader.close();
    this.#parts.frames.close();
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.onClosed(this);
  }

  #welcome(resumed: boolean): ServerMessage {
    const { settings, clock } = this.#parts;
    return {
      type: 'welcome',
      protocol: PROTOCOL_VERSION,
      client_id: this.clientId,
      token: this.link.token,
      resumed,
      last_seq: this.#lastSeq,
      pipeline: this.pipeline,
      model: this.model,
      format: this.#format,
      server_time: wallTimeMs(clock),
      limits: {
        message_bytes_max: settings.messageBytesMax,
        image_side_max: settings.imageSideMax,
        image_pixels_max: settings.imagePixelsMax,
        frame_queue: settings.frameQueue,
        idle_timeout_s: settings.idleTimeoutMs / 1000,
      },
      budget_ms: this.control.wantedBudgetMs,
      grant: this.control.tell(clock.now()),
    };
  }

  endSocket(socket: WebSocket, reason: SightlineError): void {
    this.#parts.fences.refusals.count('video', reason.code);
    endVideoSocket(socket, this.#format, reason);
  }

  onMessage(data: Buffer, isBinary: boolean, now: number): void {
    if (data.length > this.#parts.settings.messageBytesMax) {
      const error = new SightlineError(
        'MESSAGE_TOO_LARGE',
        `a message of ${data.length} bytes is over the limit of ${this.#parts.settings.messageBytesMax}`,
      );
      if (isBinary) this.#refuseFrame(undefined, error);
      else this.#refuseMessage(error);
      return;
    }
    if (isBinary) {
      this.#onFrame(decodeBinaryFrame(data), now);
      return;
    }
    try {
      limitElements(data, 'json', TEXT_ELEMENTS_MAX);
      const message = decodeTextMessage(data.toString('utf8'), (text) => Buffer.from(text, 'base64'));
      if (message.type === 'clock') this.#onClock(message, now);
      else if (message.type === 'pin') this.#onPin(message);
      else if (message.type === 'report') this.control.lag(message.lag_ms);
      else this.#onFrame(message, now);
    } catch (thrown) {
      this.#refuseMessage(toSightlineError(thrown));
    }
  }

  #onClock({ t0, round_trip_ms }: VideoClockRequest, now: number): void {
    if (round_trip_ms !== undefined) this.control.roundTrip(round_trip_ms);
    const { clock } = this.#parts;
    this.#toldAheadMs = wallAheadMs(clock);
    this.#send({ type: 'clock', t0, t1: now + this.#toldAheadMs, t2: clock.now() + this.#toldAheadMs });
  }

  #onPin({ level, mode, skip_ratio }: Pin): void {
    const pin: Pin = {
      ...(level && { level }),
      ...(mode && { mode }),
      ...(skip_ratio !== undefined && { skip_ratio }),
    };
    this.pin(Object.keys(pin).length > 0 ? pin : null);
  }

  #onFrame(frame: IncomingFrame | BadFrame, now: number): void {
    const seq = frame.seq ?? this.#lastSeq + 1;
    if (seq <= this.#lastSeq || seq === 0) {
      this.#refuseFrame(
        seq,
        new SightlineError('FRAME_SEQUENCE_BAD', `seq ${seq} does not rise: the last one was ${this.#lastSeq}`),
        false,
      );
      return;
    }
    if (this.#isDraining) {
      this.#refuseFrame(seq, new SightlineError('SHUTTING_DOWN', 'the server shuts down'));
      return;
    }
    if (frame.type === 'bad_frame') {
      this.#refuseFrame(frame.seq, frame.error);
      return;
    }
    if (frame.priority === Priority.critical && this.#priorityFault) {
      this.#refuseFrame(seq, this.#priorityFault);
      return;
    }
    const { readJpeg, frames, attached } = this.#parts;
    let picture: Extract<Picture, { kind: 'jpeg' }>;
    try {
      const { width, height, decodeMs = 0 } = readJpeg(frame.jpeg);
      picture = { kind: 'jpeg', bytes: inOwnMemory(frame.jpeg), width, height, decodeMs };
    } catch (thrown) {
      this.#refuseFrame(seq, toSightlineError(thrown, 'FRAME_NOT_JPEG'));
      return;
    }
    if (attached.isDear(picture) && !this.#gate.admits(now, this.control.grant().rate_fps)) {
      this.#refuseCostly(seq, picture.decodeMs!);
      return;
    }
    this.#lastSeq = seq;
    this.#received++;
    const { tracing } = this.#parts;
    if (tracing) this.#traced.add(seq, tracing.begin(frame.traceparent));
    const captureTimeMs = this.#plausibleCaptureTime(frame.captureTimeMs, now);
    const priority = frame.priority ?? this.#parts.priority;
    // Without a time of sending the frame counts as sent when it was captured.
    const sentTimeMs = Math.min(now, captureTimeMs + (frame.sentAfterMs ?? 0));
    const arrival = { bytes: frame.jpeg.length, sentTimeMs, arrivedTimeMs: now };
    this.control.frame(arrival, priority, sentTimeMs - captureTimeMs);
    frames.publish({
      seq,
      captureTimeMs,
      priority,
      deadlineMs: this.control.deadlineMs(captureTimeMs, now, attached.serviceMs()),
      data: picture,
    });
    this.tellGrant(now);
  }

  /** The times of a client that has not asked for the server's time of day are by the present one; else by that of its last exchange. */
  get #aheadMs(): number {
    return this.#toldAheadMs ?? wallAheadMs(this.#parts.clock);
  }

  #plausibleCaptureTime(wallMs: number | undefined, now: number): number {
    if (wallMs === undefined) return now;
    const captureTimeMs = wallMs - this.#aheadMs;
    const aheadMs = captureTimeMs - now;
    if (aheadMs <= 0 && -aheadMs <= CAPTURE_AGE_MAX_MS) return captureTimeMs;
    if (aheadMs < 0 || aheadMs > CAPTURE_AHEAD_MAX_MS) this.#captureTimesReplaced++;
    return now;
  }

  /** Answers a frame by its error. A frame that could not say its number takes the next one, as a bare frame does. */
  #refuseFrame(seq: number | undefined, error: SightlineError, takesSeq = true): void {
    this.#received++;
    this.#refusedFrames++;
    const answered = seq ?? this.#lastSeq + 1;
    if (takesSeq) this.#lastSeq = Math.max(this.#lastSeq, answered);
    this.#sendError(error.code, error.message, answered);
  }

  #refuseCostly(seq: number, decodeMs: number): void {
    this.#refusedCostly++;
    const grantedFps = this.control.grant().rate_fps;
    const costMs = Math.round(decodeMs);
    const many = `more than the ${grantedFps} frames a second of the grant`;
    this.#refuseFrame(seq, new SightlineError('SESSION_COSTLY', `pictures that take ${costMs} ms each, ${many}`));
    this.#parts.log?.write('session_costly', {
      client_id: this.clientId,
      code: 'SESSION_COSTLY',
      cost_ms: costMs,
      granted_fps: grantedFps,
    });
  }

  #refuseMessage(error: SightlineError): void {
    this.#refusedMessages++;
    this.#sendError(error.code, error.message);
  }

  #sendError(code: ErrorCode, message: string, seq?: number): void {
    this.#parts.fences.refusals.count('video', code);
    this.#send({ type: 'error', code, message, ...(seq !== undefined && { seq }) });
  }

  #countLost(answers: PipelineAnswers, seqs: readonly number[], cause: DropCause): void {
    const untold = answers.lose(seqs, cause, this.link.socket !== undefined);
    // Pauses reading from a client that does not drain its replies, which would pile up; #send resumes once it has.
    if (untold > UNTOLD_SEQS_MAX && this.link.socket) SocketReading.of(this.link.socket).pause(PauseReason.deaf);
  }

  /** Gathers what one turn of the event loop brings, so that a burst of losses becomes one message. */
  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      this.#flush();
    });
  }

  get #hasRoom(): boolean {
    const { socket } = this.link;
    return socket !== undefined && socket.bufferedAmount <= this.#parts.settings.sendBufferBytesMax;
  }

  #flush(): void {
    if (!this.link.socket) {
      for (const { reader } of this.#answers) reader.drop('disconnected');
      return;
    }
    // One answer of each pipeline after the other: where the socket takes few, none of them waits for all of another's.
    for (let isDone = false; !isDone && this.#hasRoom;) {
      isDone = true;
      for (const answers of this.#answers) {
        const sample = this.#hasRoom && answers.reader.ready ? answers.reader.next() : undefined;
        if (!sample) continue;
        this.#answer(answers, sample);
        isDone = false;
      }
    }
    if (this.#hasRoom) this.#tellLosses();
  }

  #answer(answers: PipelineAnswers, sample: Sample<FrameOutcome>): void {
    const nowMs = this.#parts.clock.now();
    const trace = this.#traceOf(answers, sample.seq);
    if (sample.data.kind === 'dropped') {
      this.#endTrace(trace, answers, { sample, nowMs, outcome: { kind: 'dropped', reason: sample.data.cause } });
      return this.#countLost(answers, [sample.seq], sample.data.cause);
    }
    this.#tellLosses();
    const message = outcomeMessage(sample, this.clientId, nowMs, this.#aheadMs);
    if (message.type !== 'result') {
      answers.errors++;
      if (sample.data.kind === 'error') {
        this.#endTrace(trace, answers, { sample, nowMs, outcome: { kind: 'error', reason: sample.data.code } });
      }
      return this.#send({ ...message, ...this.#tagOf(answers) });
    }
    answers.results++;
    // Workers run the pipelines of a frame in their order: with the last one it is done.
    if (answers === this.#answers.at(-1)) {
      this.control.answered(nowMs, message.stages_ms.total - message.stages_ms.capture);
    }
    if (this.#parts.observer.frame(message, this.#parts.priority)) answers.late++;
    const done = sample.data;
    const onSent =
      trace &&
      done.kind === 'result' &&
      ((encodeMs: number, transmitMs: number) => {
        const { width, height, receivedTimeMs, startedTimeMs, stagesMs } = done;
        const times = { receivedTimeMs, startedTimeMs, stagesMs, sent: { encodeMs, transmitMs } };
        this.#endTrace(trace, answers, { sample, nowMs, outcome: { kind: 'result', width, height, ...times } });
      });
    this.#send(message, { ...(onSent && { onSent }) });
  }

  /** With the answer of the last pipeline a frame is done. */
  #traceOf(answers: PipelineAnswers, seq: number): FrameTrace | undefined {
    if (!this.#parts.tracing) return undefined;
    const trace = this.#traced.get(seq);
    if (answers === this.#answers.at(-1)) this.#traced.forgetUpTo(seq);
    return trace;
  }

  #endTrace(
    trace: FrameTrace | undefined,
    { pipeline }: PipelineAnswers,
    { sample, nowMs, outcome }: { sample: Sample<FrameOutcome>; nowMs: number; outcome: TracedOutcome },
  ): void {
    if (!trace) return;
    this.#parts.tracing!.end({
      trace,
      clientId: this.clientId,
      pipeline: pipeline.name,
      model: pipeline.model,
      seq: sample.seq,
      captureTimeMs: sample.captureTimeMs,
      answeredTimeMs: nowMs,
      budgetMs: this.control.wantedBudgetMs,
      outcome,
    });
  }

  #tellLosses(): void {
    for (const answers of this.#answers) {
      for (const [cause, seqs] of answers.untold) {
        for (let i = 0; i < seqs.length; i += DROPPED_SEQS_MAX) {
          this.#send({ type: 'dropped', seqs: seqs.slice(i, i + DROPPED_SEQS_MAX), cause, ...this.#tagOf(answers) });
        }
      }
      answers.untold.clear();
    }
  }

  /** Whose answer it is, where there are several to tell apart. */
  #tagOf({ pipeline }: PipelineAnswers): { readonly pipeline?: PipelineName } {
    return this.#answers.length > 1 ? { pipeline: pipeline.name } : {};
  }

  /** `result`: it is one, which is timed. */
  #send(
    message: ServerMessage<PipelineName>,
    result?: { onSent?: (encodeMs: number, transmitMs: number) => void },
  ): void {
    const socket = this.link.socket;
    if (!socket || socket.readyState !== socket.OPEN) return;
    const { clock, observer } = this.#parts;
    const timed = result !== undefined;
    const before = timed ? clock.now() : 0;
    const bytes = encodeServerMessage(message, this.#format);
    const sentMs = timed ? clock.now() : 0;
    if (timed) {
      observer.encoded(sentMs - before);
      this.#unsentTimesMs.push(sentMs);
    }
    socket.send(bytes, { binary: this.#format === 'msgpack' }, (error) => {
      if (error || socket !== this.link.socket) return;
      if (timed) {
        const transmitMs = clock.now() - sentMs;
        observer.transmitted(transmitMs);
        this.#unsentTimesMs.shift();
        result.onSent?.(sentMs - before, transmitMs);
      }
      if (socket.bufferedAmount === 0) SocketReading.of(socket).resume(PauseReason.deaf);
      if (this.#answers.some(({ reader, untold }) => reader.ready || untold.size > 0)) this.#scheduleFlush();
    });
    // What answers a message is sent at once and waits in no ring: who does not read it is not read either.
    if (socket.bufferedAmount > 2 * this.#parts.settings.sendBufferBytesMax) {
      SocketReading.of(socket).pause(PauseReason.deaf);
    }
  }

  onLost(): void {
    for (const { untold } of this.#answers) untold.clear();
    this.#traced.clear();
    this.#unsentTimesMs.length = 0;
    this.#parts.attached.discardQueued();
    for (const { reader } of this.#answers) reader.drop('disconnected');
  }
}

/** Says why, then closes. */
export function endVideoSocket(socket: WebSocket, format: MessageFormat, reason: SightlineError): void {
  endSocket(socket, encodeServerMessage(endMessage(reason), format), reason);
}
