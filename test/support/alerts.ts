import type { AlertDocument, Notification } from '../../src/alerts/documents.ts';

/** Alerts as they may be. */

export function alertOf(more: Partial<AlertDocument> = {}): AlertDocument {
  return {
    id: 'alert',
    rule: 'latency',
    class: 'normal',
    state: 'critical',
    summary: '95 % of the frames of class normal take up to 250 ms, over 200 ms',
    value: 250,
    threshold: 200,
    unit: 'ms',
    started_at: Date.UTC(2026, 0, 1),
    changed_at: Date.UTC(2026, 0, 1),
    resolved_because: null,
    silenced: false,
    streams: { count: 1, worst: [{ client_id: 'gate', frames: 100, bad: 90 }] },
    evidence: [],
    ...more,
  };
}

export function notificationOf(id: string, more: Partial<Notification> = {}): Notification {
  const alert = more.alert ?? alertOf();
  return {
    version: 1,
    id,
    time: Date.UTC(2026, 0, 1),
    instance: 'here',
    kind: 'firing',
    previous: null,
    alert,
    ...more,
  };
}
