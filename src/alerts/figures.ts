import { part, type Labelled, type Part } from '../observe/figures.ts';
import type { Alerts } from './alerts.ts';
import type { SinkReport } from './documents.ts';

const OUTCOMES = ['delivered', 'retried', 'refused', 'given_up', 'queue_full'] as const satisfies (keyof SinkReport)[];

export function alertsPart(alerts: Alerts): Part<Alerts> {
  return part(
    () => alerts,
    [
      {
        name: 'sightline_alert_level',
        kind: 'gauge',
        help: 'Alerts: 0 none, 1 warning, 2 critical',
        labels: ['rule', 'class'],
        read: (all) => all.levels().map(({ rule, class: name, rank }): Labelled => [[rule, name ?? 'server'], rank]),
      },
      {
        name: 'sightline_alerts_fired_total',
        kind: 'counter',
        help: 'Alerts that have begun, or become critical',
        labels: ['rule', 'class'],
        read: (all) => all.levels().map(({ rule, class: name, fired }): Labelled => [[rule, name ?? 'server'], fired]),
      },
      {
        name: 'sightline_objective_burn_rate',
        kind: 'gauge',
        help: 'How many times as fast as it may be an objective of a class is missed, by the length of the window',
        labels: ['class', 'window'],
        read: (all) =>
          all.burnRates().map(({ class: name, windowMs, rate }): Labelled => [[name, `${windowMs / 1_000}s`], rate]),
      },
      {
        name: 'sightline_alert_notifications_total',
        kind: 'counter',
        help: 'Notifications by place and by what became of them; retried: attempts after which one is made again',
        labels: ['sink', 'outcome'],
        read: (all) =>
          all
            .sinkReports()
            .flatMap((sink) => OUTCOMES.map((outcome): Labelled => [[sink.sink, outcome], sink[outcome]])),
      },
      {
        name: 'sightline_alert_notifications_queued',
        kind: 'gauge',
        help: 'Notifications that wait, by place',
        labels: ['sink'],
        read: (all) => all.sinkReports().map(({ sink, queued }): Labelled => [[sink], queued]),
      },
    ],
  );
}
