import { wallTimeMs, type Clock } from '../../base/clock.ts';
import type { SendOutcome, Sink } from '../delivery.ts';
import type { AlertDocument, Notification } from '../documents.ts';
import { post } from './http.ts';
import type { Outbound } from './outbound.ts';

/**
 * Alertmanager's API v2 (`POST /api/v2/alerts`, github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml). An alert is its labels; it
 * is over at its `endsAt`, which each message puts off, as Prometheus does: so it is told again and again while it goes on.
 */

export interface AlertmanagerParts {
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly url: string;
  readonly instance: string;
  readonly timeoutMs: number;
  readonly resendMs: number;
}

/** Messages that may be lost on the way before an alert counts as over: Prometheus' number. */
const MISSED_MAX = 4;

type Severity = 'warning' | 'critical';

interface PostedAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
}

export class Alertmanager implements Sink {
  readonly name = 'alertmanager';
  readonly #parts: AlertmanagerParts;
  readonly #url: string;
  #sentMs = -Infinity;
  #refreshing: AbortController | undefined;

  constructor(parts: AlertmanagerParts) {
    this.#parts = parts;
    this.#url = new URL('api/v2/alerts', parts.url.endsWith('/') ? parts.url : `${parts.url}/`).href;
  }

  /** Another severity is another alert there: the earlier one is over. */
  send({ alert, kind, previous }: Notification, signal: AbortSignal): Promise<SendOutcome> {
    const isOver = kind === 'resolved';
    const alerts = [
      ...(previous !== null && (isOver || previous !== alert.state) ? [this.#posted(alert, previous, true)] : []),
      ...(isOver ? [] : [this.#posted(alert, alert.state as Severity, false)]),
    ];
    return this.#post(alerts, signal);
  }

  /** What goes on. Where that fails, it is told the next time. */
  refresh(firing: readonly AlertDocument[], nowMs: number): void {
    const { resendMs } = this.#parts;
    if (nowMs - this.#sentMs < resendMs || this.#refreshing) return;
    this.#sentMs = nowMs;
    if (firing.length === 0) return;
    const refreshing = (this.#refreshing = new AbortController());
    const alerts = firing.map((alert) => this.#posted(alert, alert.state as Severity, false));
    void this.#post(alerts, refreshing.signal).then(() => (this.#refreshing = undefined));
  }

  close(): void {
    this.#refreshing?.abort();
  }

  #post(alerts: readonly PostedAlert[], signal: AbortSignal): Promise<SendOutcome> {
    const { outbound, clock, timeoutMs } = this.#parts;
    const body = JSON.stringify(alerts);
    return post(outbound, { url: this.#url, body, timeoutMs, signal, wallMs: wallTimeMs(clock) });
  }

  #posted(alert: AlertDocument, severity: Severity, isOver: boolean): PostedAlert {
    const { clock, resendMs, instance } = this.#parts;
    const wallMs = wallTimeMs(clock);
    // Alertmanager refuses an end before the beginning, which a wall clock that was set back would make.
    const startMs = Math.min(alert.started_at, wallMs);
    return {
      labels: {
        alertname: `Sightline${alert.rule[0]!.toUpperCase()}${alert.rule.slice(1)}`,
        severity,
        class: alert.class ?? 'server',
        instance,
      },
      annotations: { summary: alert.summary, alert_id: alert.id, ...streamsOf(alert) },
      startsAt: new Date(startMs).toISOString(),
      endsAt: new Date(isOver ? wallMs : wallMs + MISSED_MAX * resendMs).toISOString(),
    };
  }
}

function streamsOf({ streams }: AlertDocument): { streams?: string } {
  if (!streams || streams.count === 0) return {};
  const worst = streams.worst.map(({ client_id, bad, frames }) => `${client_id} (${bad} of ${frames})`).join(', ');
  return { streams: `${streams.count}: ${worst}` };
}
