import { hostname } from 'node:os';
import type { Config } from '../config/schema.ts';
import type { KindRetention } from '../store/database.ts';
import type { AlertsSettings } from './alerts.ts';
import type { Objectives } from './objectives.ts';

/** The configuration's part for this room, in the room's own terms. */

const MIB = 2 ** 20;
const DAY_MS = 86_400_000;
/** Changes of alerts that the store keeps. */
const EVENTS_KEPT_MAX = 10_000;

/** Kinds of records in the store. */
export const KINDS = {
  event: 'alert_event',
  state: 'alert_state',
  silence: 'alert_silence',
  notification: 'alert_notification',
} as const;

/** Of the history alone: the rest is deleted when it is over. */
export function alertRetention({ alerts }: Pick<Config, 'alerts'>): Readonly<Record<string, KindRetention>> {
  return { [KINDS.event]: { rowsMax: EVENTS_KEPT_MAX, ageMaxMs: alerts.history_days * DAY_MS } };
}

/** `machineBytes`: memory of the machine, or of its cgroup where that is less. */
export function alertsSettings({ alerts, performance }: Config, machineBytes: number): AlertsSettings {
  return {
    enabled: alerts.enabled,
    objectives: objectivesOf(alerts, Math.min(performance.max_memory_usage * MIB, machineBytes)),
    times: { forMs: alerts.for_s * 1_000, clearMs: alerts.clear_s * 1_000 },
    delivery: { queueMax: alerts.queue_max, giveUpMs: alerts.give_up_s * 1_000, timeoutMs: alerts.timeout_ms },
    instance: alerts.instance ?? hostname(),
  };
}

function objectivesOf(alerts: Config['alerts'], memoryBytes: number): Objectives {
  const ofClass = (name: keyof Config['alerts']['objectives']) => ({
    latencyMs: alerts.objectives[name].latency_ms,
    compliancePercent: alerts.objectives[name].compliance_percent,
  });
  return {
    percentile: alerts.latency_percentile,
    latencyMs: { warning: alerts.latency_warning_ms, critical: alerts.latency_critical_ms },
    dropsPercent: { warning: alerts.drops_warning_percent, critical: alerts.drops_critical_percent },
    cpuPercent: { warning: alerts.cpu_warning_percent, critical: alerts.cpu_critical_percent },
    memoryBytes: {
      warning: (alerts.memory_warning_percent / 100) * memoryBytes,
      critical: (alerts.memory_critical_percent / 100) * memoryBytes,
    },
    classes: { critical: ofClass('critical'), high: ofClass('high'), normal: ofClass('normal'), low: ofClass('low') },
    clearShare: alerts.clear_percent / 100,
  };
}
