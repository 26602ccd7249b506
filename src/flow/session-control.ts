import type { Priority } from '../base/sample.ts';
import type { GrantFields, GrantReason, Pin } from '../protocol/video.ts';
import { rungOfLevel, rungOfMode, type Rung } from './ladder.ts';
import { PathMonitor, type FrameArrival } from './path-monitor.ts';
import { SessionQuality, type QualitySettings } from './quality.ts';
import { STARVED_MS } from './schedule.ts';
import type { Demand } from './share.ts';
import { UseMeter } from './use-meter.ts';

/**
 * All decisions for one session: what its client may send, and until when a frame is worth work. One controller for
 * network and compute: the path to the server bounds bits a second, the session's share of the engine bounds frames, and the
 * grant is the lesser of both, so that the two never work against each other. Pure: no sockets, no timers.
 */

export interface SessionControlSettings extends QualitySettings {
  /** False: rate, size and quality stay as in `fixed`; only the window follows the path. */
  readonly isAdaptive: boolean;
  /** Without adaptation: JPEG quality at full size. */
  readonly fixedQuality: number;
  /** Frame rate of the source, for pins to a mode. */
  readonly sourceFps: number;
  /** Frames that may be unanswered at once, at least 2. */
  readonly windowMin: number;
  /** The user's latency budget, capture to result, ms. */
  readonly budgetMs: number;
  /** Class of the session until its first frame. */
  readonly priority: Priority;
  /** Least time between two rises of a grant, ms; default 100. Grants fall at once. */
  readonly riseIntervalMs?: number;
}

const WINDOW_MAX = 64;
/** Answers come with jitter. */
const WINDOW_ROOM = 1.15;
/** A rate of 0 would stop a client for good: without its frames nothing could raise the rate again. */
const RATE_FPS_MIN = 0.01;
/** Changes smaller than this are not worth a message. */
const RATE_NEWS = 0.06;
const QUALITY_NEWS = 3;
const RISE_INTERVAL_MS = 100;
/** Grants fall at once, but not with every frame. */
const FALL_INTERVAL_MS = 40;
/** Weight of one frame in the time that the server takes for a frame. */
const PROCESSING_LEARNING = 0.1;
/** A client whose display, or whose reading of results, is behind by more than this gets a lower grant. */
const LAG_QUIET_MS = 50;
const LAG_DRAIN_MS = 500;
const LAG_SHARE_MIN = 0.2;
/** Share of the budget that a client may take for itself; the server does not wait for one that claims to need longer. */
const ENCODING_SHARE_MAX = 0.5;
/** Reserve in a budget for unforeseen delays, ms and share. */
const BUDGET_ROOM_MS = 10;
const BUDGET_ROOM = 1.2;

/** Measurements and decisions of a session's controller; units in the names. */
export interface ControlReport {
  readonly grant: GrantFields;
  /** Grants sent since the session began, and moves on the ladder among them. */
  readonly grants_told: number;
  readonly ladder_moves: number;
  readonly last_grant_time: number | null;
  readonly used_fps: number | null;
  /** Frames per second of the engine; null: unlimited. */
  readonly share_fps: number | null;
  /** The rate that the loop asks of the path, and the estimated bandwidth; null: not measured. */
  readonly asked_bps: number | null;
  readonly capacity_bps: number | null;
  /** Wait of the last frame behind earlier ones on the path, and its own serialisation. */
  readonly link_queue_ms: number | null;
  readonly link_service_ms: number | null;
  readonly link_one_way_ms: number | null;
  readonly client_lag_ms: number | null;
  /** Age of the oldest result that waits in the client's send buffer. */
  readonly unread_ms: number;
}

/** The most that a client may do, and the reason. */
interface Bound {
  readonly fps: number;
  readonly quality: number;
  readonly scale: number;
  readonly level: string;
  readonly reason: GrantReason;
}

interface Told {
  readonly timeMs: number;
  readonly quality: number;
  readonly scale: number;
}

export class SessionControl {
  #settings: SessionControlSettings;
  readonly #ownBudgetMs: number | undefined;
  #path = new PathMonitor();
  readonly #quality: SessionQuality;
  #pin: Pin | null = null;
  #shareFps = Infinity;
  readonly #use = new UseMeter();
  #lastAnswerMs: number;
  #processingMs = 0;
  #encodingMs = 0;
  /** As the client reported it; undefined: it has not. */
  #lagMs: number | undefined;
  #unreadMs = 0;
  #priority: Priority;
  /** The last two grants: frames of the older one are still under way when the newer one is sent. */
  #told: Told[] = [];
  #last: GrantFields | undefined;
  #lastToldMs = -Infinity;
  #grantsTold = 0;

  /** `ownBudgetMs`: the session's own budget, in place of the settings'. */
  constructor(settings: SessionControlSettings, nowMs: number, ownBudgetMs?: number) {
    this.#settings = settings;
    this.#ownBudgetMs = ownBudgetMs;
    this.#quality = new SessionQuality(settings);
    this.#lastAnswerMs = nowMs;
    this.#priority = settings.priority;
  }

  /** The user's wish. The budget that is applied may be larger: see `budgetMs`. */
  get wantedBudgetMs(): number {
    return this.#ownBudgetMs ?? this.#settings.budgetMs;
  }

  /** Does the source keep to its grant, with some patience? */
  get isWithinGrant(): boolean {
    return this.#last === undefined || this.#use.keepsTo(this.#last.rate_fps);
  }

  /** Other settings for a session that goes on: its measurements stay, and so do its pin and its own budget. */
  configure(settings: SessionControlSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    this.#quality.configure(settings);
    // Frames under way have the size of the grant that they were sent under.
    const scaleBy = before.width / settings.width;
    this.#told = this.#told.map(({ timeMs, quality, scale }) => ({ timeMs, quality, scale: scale * scaleBy }));
    if (!settings.isAdaptive) this.#shareFps = Infinity;
    // The loop got no measurements of the path meanwhile.
    else if (!before.isAdaptive) this.#quality.restart();
  }

  /** Another connection takes the session over. */
  restart(nowMs: number): void {
    this.#path = new PathMonitor();
    this.#quality.restart();
    this.#lagMs = undefined;
    this.#unreadMs = 0;
    this.#use.restart();
    this.#lastAnswerMs = nowMs;
  }

  roundTrip(roundTripMs: number): void {
    this.#path.roundTrip(roundTripMs);
  }

  /** How far the client's display is behind, ms; invalid times are ignored. */
  lag(lagMs: number): void {
    if (lagMs >= 0 && lagMs < Infinity) this.#lagMs = lagMs;
  }

  /** For how long results have been waiting in the send buffer of a client that does not read them, ms. */
  unread(unreadMs: number): void {
    this.#unreadMs = unreadMs;
  }

  pin(pin: Pin | null): void {
    this.#pin = pin;
  }

  /** Do other sessions use the same path to the server? */
  shareWay(isShared: boolean): void {
    this.#quality.shareWay(isShared);
  }

  /** Frames per second of the engine that this session may have; Infinity: there is enough. */
  share(fps: number): void {
    this.#shareFps = fps;
  }

  /** `encodingMs`: from its capture until the client handed it to its socket. */
  frame(arrival: FrameArrival, priority: Priority, encodingMs = 0): void {
    const { bytes, sentTimeMs, arrivedTimeMs } = arrival;
    this.#priority = priority;
    const ownMs = Math.max(0, Math.min(encodingMs, ENCODING_SHARE_MAX * this.wantedBudgetMs));
    this.#encodingMs += PROCESSING_LEARNING * (ownMs - this.#encodingMs);
    this.#use.frame(arrivedTimeMs, this.#settings.maxFps);
    const path = this.#path.frame(arrival);
    if (this.#settings.isAdaptive) {
      const sent = this.#sentUnder(sentTimeMs - path.baseMs);
      const otherMs = this.#encodingMs + (this.#path.roundTripMs ?? 0) + this.#processingMs;
      const leftMs = (this.wantedBudgetMs - BUDGET_ROOM_MS) / BUDGET_ROOM - otherMs;
      this.#quality.frame(arrivedTimeMs, bytes, sent, path, { leftMs, sourceFps: this.#use.sourceFps });
    }
  }

  /** A frame was answered by a result, `processingMs` after it had arrived. */
  answered(nowMs: number, processingMs: number): void {
    this.#lastAnswerMs = nowMs;
    this.#processingMs += PROCESSING_LEARNING * (processingMs - this.#processingMs);
  }

  /** It has sent a frame of late. */
  isInUse(nowMs: number): boolean {
    return this.#use.isInUse(nowMs);
  }

  /** The session's demand on the engine: no more than its other bounds allow, and little more than it uses. */
  demand(nowMs: number): Demand {
    const most = this.#bound().fps;
    return { priority: this.#priority, wanted: Math.min(most, this.#use.wantedFps(nowMs)), most };
  }

  /**
   * Latency budget, capture to result, that is applied: the user's, or the least that client, network and engine need where that
   * is more: a budget that cannot be met would otherwise leave no results at all.
   */
  budgetMs(serviceMs: number): number {
    const { baseMs, serviceMs: wayMs, capacityBps } = this.#path.state;
    const way = capacityBps === undefined ? 2 * baseMs : 2 * baseMs + wayMs;
    return Math.max(this.wantedBudgetMs, BUDGET_ROOM * (this.#encodingMs + way + serviceMs) + BUDGET_ROOM_MS);
  }

  /**
   * Until when a frame must be with a worker, which takes `serviceMs`, so that its result is in time. A session that has had no
   * result for long gets one even if it is late.
   */
  deadlineMs(captureTimeMs: number, nowMs: number, serviceMs: number): number {
    if (nowMs - this.#lastAnswerMs > STARVED_MS) return nowMs + STARVED_MS;
    return captureTimeMs + this.budgetMs(serviceMs) - serviceMs - this.#path.state.baseMs;
  }

  grant(): GrantFields {
    const { width, height } = this.#settings;
    const { fps, quality, scale, level, reason } = this.#bound();
    const isComputeLess = this.#shareFps < fps;
    const rate = Math.min(fps, this.#shareFps);
    return {
      rate_fps: Math.max(RATE_FPS_MIN, Math.round(rate * 100) / 100),
      window: this.#window(rate),
      width: Math.round(width * scale),
      height: Math.round(height * scale),
      quality,
      pinned: this.#pin,
      level,
      reason: isComputeLess ? 'compute' : reason,
    };
  }

  /** The grant, if it differs enough from the last one sent and may be sent now. */
  news(nowMs: number): GrantFields | undefined {
    const grant = this.grant();
    if (this.#last) {
      const difference = changeOf(grant, this.#last);
      if (difference === 'same') return undefined;
      const sinceMs = nowMs - this.#lastToldMs;
      if (sinceMs < (difference === 'less' ? FALL_INTERVAL_MS : (this.#settings.riseIntervalMs ?? RISE_INTERVAL_MS)))
        return undefined;
    }
    return this.tell(nowMs, grant);
  }

  /** Sends the grant now, whether it has changed or not. */
  tell(nowMs: number, grant = this.grant()): GrantFields {
    const scale = grant.width / this.#settings.width;
    this.#told = [...this.#told.slice(-1), { timeMs: nowMs, quality: grant.quality, scale }];
    this.#last = grant;
    this.#lastToldMs = nowMs;
    this.#grantsTold++;
    return grant;
  }

  report(): ControlReport {
    const { capacityBps, queueMs, serviceMs, baseMs } = this.#path.state;
    const isMeasured = this.#path.hasMeasured;
    return {
      grant: this.#last ?? this.grant(),
      grants_told: this.#grantsTold,
      ladder_moves: this.#quality.ladderMoves,
      last_grant_time: this.#last === undefined ? null : this.#lastToldMs,
      used_fps: this.#use.fps ?? null,
      share_fps: this.#shareFps === Infinity ? null : this.#shareFps,
      asked_bps: capacityBps === undefined ? null : this.#quality.rateBps,
      capacity_bps: capacityBps ?? null,
      link_queue_ms: isMeasured ? queueMs : null,
      link_service_ms: isMeasured ? serviceMs : null,
      link_one_way_ms: isMeasured ? baseMs : null,
      client_lag_ms: this.#lagMs ?? null,
      unread_ms: this.#unreadMs,
    };
  }

  /** The lowest of all bounds but the engine's. */
  #bound(): Bound {
    const behindMs = Math.max(this.#lagMs ?? 0, this.#unreadMs);
    const lagShare = 1 - Math.max(0, behindMs - LAG_QUIET_MS) / LAG_DRAIN_MS;
    const bound = this.#boundByWay();
    if (lagShare >= 1) return bound;
    return { ...bound, fps: bound.fps * Math.max(LAG_SHARE_MIN, lagShare), reason: 'client' };
  }

  #boundByWay(): Bound {
    const { isAdaptive, firstFps, minFps, maxFps, fixedQuality, rungs } = this.#settings;
    const pinned = this.#pinnedRung();
    const skip = this.#pin?.skip_ratio ?? 1;
    if (pinned) {
      // A pin fixes the picture and limits the frame rate; the path still has its own limit.
      const fps = Math.min(pinned.fps, maxFps) / skip;
      const affordable = isAdaptive ? Math.min(fps, Math.max(minFps / skip, this.#quality.fpsFor(pinned))) : fps;
      return {
        fps: affordable,
        quality: pinned.quality,
        scale: pinned.scale,
        level: pinned.name,
        reason: affordable < fps ? 'link' : 'pin',
      };
    }
    if (!isAdaptive) {
      const fps = Math.min(firstFps, maxFps) / skip;
      return { fps, quality: fixedQuality, scale: 1, level: 'fixed', reason: skip > 1 ? 'pin' : 'fixed' };
    }
    const { quality, scale, rung } = this.#quality.current;
    const reason = skip > 1 ? 'pin' : this.#quality.bound;
    return { fps: this.#quality.current.fps / skip, quality, scale, level: rungs[rung]!.name, reason };
  }

  #pinnedRung(): Rung | undefined {
    const { level, mode } = this.#pin ?? {};
    if (level) return rungOfLevel(level);
    return mode && rungOfMode(mode, Math.min(this.#settings.sourceFps, this.#settings.maxFps));
  }

  /** As many frames as are in transit at this rate: further ones would only wait. */
  #window(fps: number): number {
    const { baseMs, serviceMs } = this.#path.state;
    // A frame that takes longer than the interval to the next one is on a path that has just become slower: one is enough to know,
    // before the rate falls for several. Then no more frames may be in transit than follow each other at that pace.
    const paceMs = Math.max(serviceMs, 1000 / fps);
    const ownMs = Math.min(serviceMs, 1000 / fps);
    const unanswered = Math.ceil((WINDOW_ROOM * (2 * baseMs + ownMs + this.#processingMs)) / paceMs);
    return Math.max(2, this.#settings.windowMin, Math.min(WINDOW_MAX, unanswered));
  }

  /** The grant in force when a client handed a frame to its socket, allowing for the grant's own transit. */
  #sentUnder(timeMs: number): { quality: number; scale: number } {
    const told = this.#told.findLast((grant) => grant.timeMs <= timeMs) ?? this.#told[0];
    return told ?? this.#quality.current;
  }
}

function changeOf(grant: GrantFields, last: GrantFields): 'same' | 'less' | 'more' {
  const rate = grant.rate_fps / Math.max(0.01, last.rate_fps);
  if (rate < 1 - RATE_NEWS || grant.quality <= last.quality - QUALITY_NEWS || grant.width < last.width) return 'less';
  if (rate > 1 + RATE_NEWS || grant.quality >= last.quality + QUALITY_NEWS || grant.width > last.width) return 'more';
  if (grant.window < last.window - 1) return 'less';
  return grant.window > last.window || grant.level !== last.level || grant.reason !== last.reason ? 'more' : 'same';
}
