import { randomUUID } from 'node:crypto';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Log } from '../log/log.ts';
import type { Store } from '../store/store.ts';
import type { StreamOptions, Stream } from '../stream/stream.ts';
import { INACTIVE, isPending, nextState, type AlertState, type AlertTimes } from './alert-state.ts';
import { Delivery, type DeliverySettings, type Sink } from './delivery.ts';
import {
  alertSchema,
  notificationSchema,
  type AlertDocument,
  type AlertsDocument,
  type Notification,
  type SilenceDocument,
  type SilenceRequest,
} from './documents.ts';
import { CLASSES, type FrameMeter, type StreamClass } from './frame-meter.ts';
import {
  CLASS_RULES,
  ObjectiveJudge,
  SEVERITIES,
  type Figures,
  type Judgement,
  type Objectives,
  type Rank,
  type RuleName,
} from './objectives.ts';
import { Silences } from './silences.ts';
import { summaryOf } from './summary.ts';
import { KINDS } from './settings.ts';

/**
 * Holds the server against its objectives once a second, and tells of what changes. There is one alert for each rule and class at most, so
 * that what befalls many streams at once is one alert, with their number and the worst of them.
 */

export interface AlertsSettings {
  readonly enabled: boolean;
  readonly objectives: Objectives;
  readonly times: AlertTimes;
  readonly delivery: DeliverySettings;
  /** Name of the server in notifications. */
  readonly instance: string;
}

/** The counts of one stream since its start. */
export interface StreamTally {
  /** Of a session, or `camera:` and the id of a camera. */
  readonly client_id: string;
  readonly class: StreamClass;
  readonly frames: number;
  /** Of these without a result in time. */
  readonly bad: number;
}

export interface AlertsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly store: Pick<Store, 'read' | 'put' | 'delete' | 'report'>;
  readonly hub: { create<T>(name: string, options: StreamOptions<T>): Stream<T> };
  readonly meter: FrameMeter;
  /** Read once a second. */
  readonly figures: () => Omit<Figures, 'latencies'>;
  readonly streams: () => Iterable<StreamTally>;
  readonly sinks: readonly Sink[];
  readonly settings: AlertsSettings;
}

const TICK_MS = 1_000;
/** Streams that are told of an alert. */
const WORST_MAX = 5;
const SNAPSHOT_MS = 60_000;
/** Changes of alerts that are kept in memory, and those that a late reader of the event stream may still have. */
const HISTORY_MAX = 200;
const EVENTS_MAX = 256;

interface Alert {
  readonly key: string;
  readonly rule: RuleName;
  readonly class: StreamClass | null;
  state: AlertState;
  /** Rank that the places know of. */
  told: Rank;
  judgement: Judgement | undefined;
  /** As of its last change; undefined: it is not firing. */
  document: AlertDocument | undefined;
}

export class Alerts {
  readonly #parts: AlertsParts;
  #judge = new ObjectiveJudge();
  readonly #alerts = new Map<string, Alert>();
  readonly #silences: Silences;
  readonly #deliveries: readonly Delivery[];
  /** Every change of an alert. */
  readonly events: Stream<AlertDocument>;
  /** The newest first. */
  #history: AlertDocument[] = [];
  #settings: AlertsSettings;
  #timer: NodeJS.Timeout | undefined;
  readonly #fired = new Map<string, number>();
  /** Counts of the streams at the beginnings of the last minute and of this one. */
  #before = new Map<string, StreamTally>();
  #since = new Map<string, StreamTally>();
  #snapshotMs: number;

  constructor(parts: AlertsParts) {
    this.#parts = parts;
    this.#settings = parts.settings;
    this.#silences = new Silences(parts.clock);
    this.#snapshotMs = parts.clock.now();
    this.events = parts.hub.create('$alerts', { capacity: EVENTS_MAX });
    this.#deliveries = parts.sinks.map((sink) => {
      const onDone = ({ id }: Notification): void => parts.store.delete(KINDS.notification, `${sink.name}/${id}`);
      const { clock, random, log, settings } = parts;
      return new Delivery({ sink, clock, random, log, settings: settings.delivery, onDone });
    });
    this.configure(parts.settings);
  }

  /** Takes up what an earlier run has kept, and begins to look. Errors: none; what cannot be read is in the log. */
  async open(): Promise<void> {
    const { store } = this.#parts;
    const { queueMax } = this.#settings.delivery;
    const [states, history, silences, notifications] = await Promise.all([
      store.read(KINDS.state, 1_000),
      store.read(KINDS.event, HISTORY_MAX),
      store.read(KINDS.silence, 1_000),
      store.read(KINDS.notification, queueMax * Math.max(1, this.#deliveries.length)),
    ]);
    this.#history = history.flatMap(({ value }) => alertOf(valueOf(value)) ?? []).toReversed();
    for (const { key, value } of states) if (!this.#restore(key, valueOf(value))) store.delete(KINDS.state, key);
    for (const { key, value } of silences) {
      if (!this.#silences.restore(valueOf(value))) store.delete(KINDS.silence, key);
    }
    for (const { key, value } of notifications) this.#resume(key, valueOf(value));
    this.#timer = setInterval(() => this.tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Other thresholds, from now on. Turned off, nothing is looked at, and what fires ends with the next second. */
  configure(settings: AlertsSettings): void {
    // What has happened meanwhile has no time.
    if (settings.enabled && !this.#settings.enabled) this.#judge = new ObjectiveJudge();
    this.#settings = settings;
    const { classes } = settings.objectives;
    const lateMs = CLASSES.map((name) => [name, classes[name].latencyMs] as const);
    this.#parts.meter.configure(Object.fromEntries(lateMs) as Record<StreamClass, number>);
  }

  /** One look at the figures. */
  tick(): void {
    const { clock, store } = this.#parts;
    const nowMs = clock.now();
    for (const id of this.#silences.expire()) store.delete(KINDS.silence, id);
    if (this.#settings.enabled) this.#look(nowMs);
    else this.#dismiss(nowMs);
    const firing = this.#firing().filter((alert) => !this.#isSilenced(alert));
    for (const [at, delivery] of this.#deliveries.entries()) {
      this.#parts.sinks[at]!.refresh?.(
        firing.map(({ document }) => document!),
        nowMs,
      );
      delivery.tick();
    }
  }

  #look(nowMs: number): void {
    const { meter, figures } = this.#parts;
    const { objectives } = this.#settings;
    meter.tick();
    this.#snapshot(nowMs);
    const latencies = Object.fromEntries(CLASSES.map((name) => [name, meter.take(name)])) as Record<
      StreamClass,
      Uint32Array
    >;
    for (const judgement of this.#judge.judge({ ...figures(), latencies }, objectives, nowMs)) {
      this.#see(judgement, nowMs);
    }
  }

  /** Nobody looks any more: what was firing is told to have ended, and why. */
  #dismiss(nowMs: number): void {
    for (const alert of this.#alerts.values()) {
      const before = alert.state;
      alert.state = INACTIVE;
      if (before.rank === 0) continue;
      this.#change(alert, before, nowMs, 'turned_off');
      this.#tell(alert);
    }
  }

  report(): AlertsDocument {
    const { clock, store } = this.#parts;
    const pending = [...this.#alerts.values()].filter(({ state }) => isPending(state));
    const firing = this.#firing().toSorted((a, b) => b.state.rank - a.state.rank);
    const { state } = store.report();
    return {
      time: wallTimeMs(clock),
      enabled: this.#settings.enabled,
      alerts: [...firing, ...pending].map((alert) => this.#present(alert)),
      silences: this.#silences.all,
      history: this.#history,
      sinks: this.sinkReports(),
      kept: state !== 'memory',
    };
  }

  sinkReports() {
    return this.#deliveries.map(({ report }) => report);
  }

  /** For figures. */
  levels(): {
    readonly rule: RuleName;
    readonly class: StreamClass | null;
    readonly rank: Rank;
    readonly fired: number;
  }[] {
    return [...this.#alerts.values()].map(({ key, rule, class: name, state: { rank } }) => ({
      rule,
      class: name,
      rank,
      fired: this.#fired.get(key) ?? 0,
    }));
  }

  burnRates() {
    return this.#judge.burnRates(this.#settings.objectives, this.#parts.clock.now());
  }

  /** Alerts that are told: in words, with their severity. */
  firing(): { readonly severity: 'warning' | 'critical'; readonly summary: string }[] {
    return this.#firing()
      .filter((alert) => !this.#isSilenced(alert))
      .map(({ state: { rank }, document }) => ({
        severity: severityOf(rank)!,
        summary: document!.summary,
      }));
  }

  /** Throws SILENCE_LIMIT_REACHED. */
  silence(request: SilenceRequest, author: string): SilenceDocument {
    const silence = this.#silences.add(request, author);
    this.#parts.store.put(KINDS.silence, silence.id, silence);
    const { duration_s } = request;
    this.#parts.log.write('alerts_silenced', { author, what: wordsOf(silence), duration_s });
    return silence;
  }

  /** Throws SILENCE_UNKNOWN. */
  unsilence(id: string, author: string): SilenceDocument {
    const silence = this.#silences.remove(id);
    this.#parts.store.delete(KINDS.silence, id);
    this.#parts.log.write('alerts_unsilenced', { author, what: wordsOf(silence) });
    return silence;
  }

  /** Everything anew into a store that has lost it. */
  rewrite(): void {
    const { store } = this.#parts;
    for (const document of this.#history.toReversed()) store.put(KINDS.event, eventKey(document), document);
    for (const alert of this.#firing()) this.#keep(alert);
    for (const silence of this.#silences.all) store.put(KINDS.silence, silence.id, silence);
    for (const delivery of this.#deliveries) {
      for (const one of delivery.waiting) store.put(KINDS.notification, `${delivery.name}/${one.id}`, one);
    }
  }

  /** What is not delivered stays in the store. Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    for (const delivery of this.#deliveries) delivery.close();
    this.events.close();
  }

  #firing(): Alert[] {
    return [...this.#alerts.values()].filter(({ state }) => state.rank > 0);
  }

  #see(judgement: Judgement, nowMs: number): void {
    const alert = this.#alertOf(judgement.rule, judgement.class);
    const before = alert.state;
    alert.judgement = judgement;
    alert.state = nextState(before, judgement, nowMs, this.#settings.times);
    const ending = judgement.rank === 'unknown' ? 'no_frames' : 'recovered';
    if (alert.state.rank !== before.rank) this.#change(alert, before, nowMs, ending);
    this.#tell(alert);
  }

  #alertOf(rule: RuleName, name: StreamClass | null): Alert {
    const key = keyOf(rule, name);
    let alert = this.#alerts.get(key);
    if (!alert) {
      alert = { key, rule, class: name, state: INACTIVE, told: 0, judgement: undefined, document: undefined };
      this.#alerts.set(key, alert);
    }
    return alert;
  }

  /** Its rank is another one; `ending`: why, if it is at its end. */
  #change(alert: Alert, before: AlertState, nowMs: number, ending: AlertDocument['resolved_because']): void {
    const { clock, log, store, meter } = this.#parts;
    const { rank } = alert.state;
    const { judgement, document: earlier } = alert;
    const changed_at = wallTimeMs(clock, nowMs);
    const evidence = rank === 0 ? undefined : meter.slowest(alert.class ?? undefined);
    const document: AlertDocument = {
      // One that an earlier run has left was not judged by this one yet.
      ...told(judgement ?? earlier!),
      id: earlier?.id ?? randomUUID(),
      state: severityOf(rank) ?? 'resolved',
      summary: rank === 0 && earlier ? earlier.summary : summaryOf(judgement!, this.#settings.objectives),
      started_at: earlier?.started_at ?? wallTimeMs(clock, alert.state.aboveMs[0] ?? nowMs),
      changed_at,
      resolved_because: rank > 0 ? null : ending,
      silenced: rank > 0 && this.#isSilenced(alert),
      streams: rank === 0 ? (earlier?.streams ?? null) : this.#worst(alert.class),
      evidence: evidence
        ? evidence.map(({ timeMs, ...frame }) => Object.assign(frame, { time: wallTimeMs(clock, timeMs) }))
        : (earlier?.evidence ?? []),
    };
    alert.document = document;
    this.#history = [document, ...this.#history].slice(0, HISTORY_MAX);
    store.put(KINDS.event, eventKey(document), document);
    this.events.publish({ data: document });
    const { rule, class: name, summary } = document;
    if (rank > before.rank) this.#fired.set(alert.key, (this.#fired.get(alert.key) ?? 0) + 1);
    if (rank > 0) {
      log.write('alert_firing', { rule, class: name ?? 'server', severity: severityOf(rank)!, summary });
      this.#keep(alert);
    } else log.write('alert_resolved', { rule, class: name ?? 'server', summary });
  }

  /** Tells the places what they do not know yet. */
  #tell(alert: Alert): void {
    const { rank } = alert.state;
    const { document } = alert;
    if (!document) return;
    const isDue = rank !== alert.told && (rank === 0 || !this.#isSilenced(alert));
    if (isDue) {
      this.#notify({ ...document, silenced: false }, alert.told);
      alert.told = rank;
      if (rank > 0) this.#keep(alert);
    }
    if (rank === 0) {
      alert.document = undefined;
      this.#parts.store.delete(KINDS.state, alert.key);
    }
  }

  #notify(alert: AlertDocument, before: Rank): void {
    const { clock, store } = this.#parts;
    const notification: Notification = {
      version: 1,
      id: randomUUID(),
      time: wallTimeMs(clock),
      instance: this.#settings.instance,
      kind: alert.state === 'resolved' ? 'resolved' : 'firing',
      previous: severityOf(before),
      alert,
    };
    for (const delivery of this.#deliveries) {
      store.put(KINDS.notification, `${delivery.name}/${notification.id}`, notification);
      delivery.push(notification);
    }
  }

  #keep({ key, document, told: rank }: Alert): void {
    this.#parts.store.put(KINDS.state, key, { told: rank, alert: document });
  }

  /** An alert that was firing when the server ended. False: there is no such rule any more, or it is none. */
  #restore(key: string, value: unknown): boolean {
    const { alert: kept, told: toldBefore } = Object(value) as { readonly told?: unknown; readonly alert?: unknown };
    const document = alertOf(kept);
    if (!document || keyOf(document.rule, document.class) !== key) return false;
    if (CLASS_RULES.has(document.rule) !== (document.class !== null)) return false;
    const rank = rankOf(document.state);
    if (rank === 0) return false;
    const alert = this.#alertOf(document.rule, document.class);
    alert.state = { ...INACTIVE, rank, unknownMs: this.#parts.clock.now() };
    alert.told = SEVERITIES.some((_, at) => at === toldBefore) ? (toldBefore as Rank) : 0;
    alert.document = document;
    return true;
  }

  /** A notification that was not delivered when the server ended; its time begins anew. */
  #resume(key: string, value: unknown): void {
    const parsed = notificationSchema.safeParse(value);
    const delivery = this.#deliveries.find(({ name }) => key.startsWith(`${name}/`));
    if (parsed.success && delivery) return delivery.push(parsed.data as Notification);
    this.#parts.store.delete(KINDS.notification, key);
    const alert = parsed.success ? parsed.data.alert.summary : key;
    this.#parts.log.write('alert_lost', { sink: key.split('/')[0]!, alert, cause: 'refused', reason: 'no such place' });
  }

  #isSilenced(alert: Pick<Alert, 'rule' | 'class' | 'state'>): boolean {
    const severity = severityOf(alert.state.rank);
    return severity !== null && this.#silences.covers(alert, severity);
  }

  /** With the values of now. */
  #present(alert: Alert): AlertDocument {
    const { judgement, state } = alert;
    const { clock } = this.#parts;
    if (alert.document) {
      const fresh = judgement && { value: judgement.value === null ? null : rounded(judgement.value) };
      return { ...alert.document, ...fresh, silenced: this.#isSilenced(alert) };
    }
    const started_at = wallTimeMs(clock, state.aboveMs[0]);
    return {
      ...told(judgement!),
      id: '',
      state: 'pending',
      summary: summaryOf(judgement!, this.#settings.objectives),
      started_at,
      changed_at: started_at,
      resolved_because: null,
      silenced: false,
      streams: null,
      evidence: [],
    };
  }

  #snapshot(nowMs: number): void {
    if (nowMs - this.#snapshotMs < SNAPSHOT_MS) return;
    this.#snapshotMs = nowMs;
    this.#before = this.#since;
    this.#since = new Map(Array.from(this.#parts.streams(), (tally) => [tally.client_id, tally]));
  }

  /** The streams of a class that are worst off. */
  #worst(name: StreamClass | null): AlertDocument['streams'] {
    if (name === null) return null;
    const bad = Array.from(this.#parts.streams())
      .filter((tally) => tally.class === name)
      .map((tally) => {
        const before = this.#before.get(tally.client_id);
        // Its counts began anew: it is another stream of that name.
        const from = before && before.frames <= tally.frames ? before : undefined;
        const { client_id } = tally;
        return { client_id, frames: tally.frames - (from?.frames ?? 0), bad: tally.bad - (from?.bad ?? 0) };
      })
      .filter((stream) => stream.bad > 0);
    return { count: bad.length, worst: bad.toSorted((a, b) => b.bad - a.bad).slice(0, WORST_MAX) };
  }
}

function keyOf(rule: RuleName, name: StreamClass | null): string {
  return `${rule}/${name ?? 'server'}`;
}

function eventKey({ id, changed_at, state }: AlertDocument): string {
  return `${id}/${state}/${changed_at}`;
}

function severityOf(rank: Rank): 'warning' | 'critical' | null {
  return rank === 0 ? null : (SEVERITIES[rank] as 'warning' | 'critical');
}

function rankOf(state: AlertDocument['state']): Rank {
  return state === 'critical' ? 2 : state === 'warning' ? 1 : 0;
}

/** Of a record; undefined: it was damaged. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function alertOf(value: unknown): AlertDocument | undefined {
  const parsed = alertSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

function told({ rule, class: name, value, threshold, unit }: Omit<Judgement, 'rank' | 'floor'>) {
  return { rule, class: name, value: value === null ? null : rounded(value), threshold, unit };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function wordsOf({ match }: SilenceDocument): string {
  const words = Object.entries(match).map(([key, value]) => `${key} ${String(value)}`);
  return words.join(', ') || 'all alerts';
}
