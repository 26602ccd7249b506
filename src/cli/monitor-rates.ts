import type { MonitorDocument, MonitorMetrics, SessionSeen, TopicSeen } from './monitor-document.ts';

/** What came between two readings of one server. Pure. */

/** `previous`, if the server has not been started anew since. */
export function sameRun(now: MonitorDocument, previous: MonitorDocument | undefined): MonitorDocument | undefined {
  const upBefore = previous?.metrics.process?.uptime_s ?? 0;
  return (now.metrics.process?.uptime_s ?? Infinity) < upBefore ? undefined : previous;
}

export function topicKey({ stats }: TopicSeen): string {
  return `${stats?.epoch} ${stats?.topic}`;
}

export interface Sums {
  readonly resultsPerS: number | undefined;
  /** Frames that the engine has run, failed ones included. */
  readonly framesPerS: number | undefined;
  /** Frames of all sessions that are open. */
  readonly dropped: number | undefined;
  /** Messages published, and messages handed to who reads them. */
  readonly telemetryInPerS: number | undefined;
  readonly telemetryOutPerS: number | undefined;
}

/** Over all sessions and topics. Rates are `undefined` without a reading before. */
export function summarise(now: MonitorDocument, before: MonitorDocument | undefined): Sums {
  const elapsedS = secondsBetween(now, before);
  const { sessions, engine, telemetry } = now.metrics;
  const earlier = before?.metrics;
  const perSecond = (count: number | undefined): number | undefined =>
    count === undefined || elapsedS === undefined ? undefined : count / elapsedS;
  return {
    resultsPerS: perSecond(
      increase(
        sessions,
        earlier?.sessions,
        ({ client_id }) => client_id ?? '',
        ({ accounts }) => accounts?.results,
      ),
    ),
    framesPerS: rate(ranBy(engine), ranBy(earlier?.engine), elapsedS),
    dropped: sessions && sum(sessions, ({ accounts }) => totalOf(accounts?.dropped)),
    telemetryInPerS: perSecond(
      increase(telemetry?.topics, earlier?.telemetry?.topics, topicKey, ({ stats }) => stats?.published),
    ),
    telemetryOutPerS: perSecond(
      increase(
        telemetry?.sessions,
        earlier?.telemetry?.sessions,
        ({ client_id }) => client_id ?? '',
        ({ accounts }) => accounts?.delivered,
      ),
    ),
  };
}

function ranBy(engine: MonitorMetrics['engine']): number | undefined {
  return engine?.completed === undefined ? undefined : engine.completed + (engine.failed ?? 0);
}

/** What all counters together have gained; one that was not there before has begun at 0, and so has one that is lower now. */
function increase<T>(
  items: readonly T[] | undefined,
  before: readonly T[] | undefined,
  keyOf: (item: T) => string,
  countOf: (item: T) => number | undefined,
): number | undefined {
  if (items === undefined) return undefined;
  const known = new Map((before ?? []).map((item) => [keyOf(item), countOf(item) ?? 0]));
  return sum(items, (item) => {
    const count = countOf(item);
    if (count === undefined) return undefined;
    const earlier = known.get(keyOf(item)) ?? 0;
    return count >= earlier ? count - earlier : count;
  });
}

/** By the server's own clock. `undefined`: there is no reading before. */
export function secondsBetween(now: MonitorDocument, before: MonitorDocument | undefined): number | undefined {
  const [nowMs, beforeMs] = [now.metrics.time, before?.metrics.time];
  return nowMs === undefined || beforeMs === undefined || nowMs <= beforeMs ? undefined : (nowMs - beforeMs) / 1000;
}

export function rate(
  count: number | undefined,
  before: number | undefined,
  elapsedS: number | undefined,
): number | undefined {
  if (count === undefined || before === undefined || elapsedS === undefined || count < before) return undefined;
  return (count - before) / elapsedS;
}

/** `undefined`: none of them has such a figure. */
export function sum<T>(items: readonly T[], of: (item: T) => number | undefined): number | undefined {
  const figures = items.map(of).filter((figure) => figure !== undefined);
  return figures.length === 0 && items.length > 0 ? undefined : figures.reduce((total, figure) => total + figure, 0);
}

export function totalOf(counts: Readonly<Record<string, number | undefined>> | undefined): number | undefined {
  return counts && sum(Object.values(counts), (count) => count);
}

export function resultRate(
  session: SessionSeen,
  earlier: SessionSeen | undefined,
  elapsedS: number | undefined,
): number | undefined {
  // The same name in a session that began anew.
  if ((session.age_s ?? Infinity) < (earlier?.age_s ?? 0)) return undefined;
  return rate(session.accounts?.results, earlier?.accounts?.results, elapsedS);
}
