import { z } from 'zod';
import type { DeepReadonly } from '../config/schema.ts';
import { OWN_STAGES } from '../observe/histogram.ts';
import { amount, count, each, unixMs } from '../observe/schema.ts';
import { CLASSES } from './frame-meter.ts';
import { RULES } from './objectives.ts';

/** Alerts as they are told: by REST, event streams and notifications, and as the store keeps them. Units stand in the names. */

const ruleSchema = z.enum(RULES);
const classSchema = z.enum(CLASSES);
const severitySchema = z.enum(['warning', 'critical']);

const streamName = () => z.string().describe('name of the session, or `camera:` and the id of the camera');

const slowFrameSchema = z.object({
  client_id: streamName(),
  pipeline: z.string(),
  epoch: unixMs('of a camera’s frame; with `seq` that is its name').optional(),
  seq: count(),
  time: unixMs('when its result was there'),
  stages_ms: each([...OWN_STAGES, 'total'] as const, () => z.number()).describe(
    'of a camera’s frame: from its arrival at the server',
  ),
});

const worstSchema = z.object({
  client_id: streamName(),
  frames: count(),
  bad: count().describe('without a result in time'),
});

export const alertSchema = z
  .object({
    id: z.string().describe('of this occurrence: the same from its beginning to its end'),
    rule: ruleSchema,
    class: classSchema.nullable().describe('of streams; null: the server as a whole'),
    state: z.enum(['pending', 'warning', 'critical', 'resolved']).describe('`pending`: nobody is told yet'),
    summary: z.string().describe('for people'),
    value: z.number().nullable().describe('null: not known at present'),
    threshold: z.number(),
    unit: z.enum(['ms', 'percent', 'bytes', 'burn_rate']).describe('of both'),
    started_at: unixMs('when its threshold was exceeded'),
    changed_at: unixMs('when its state has changed last'),
    resolved_because: z
      .enum(['recovered', 'no_frames', 'turned_off'])
      .nullable()
      .describe('`no_frames`: for ten minutes there were too few of them to say; `turned_off`: nobody looks any more'),
    silenced: z.boolean().describe('nobody is told'),
    streams: z
      .object({
        count: count().describe('streams of the class with frames without a result in time'),
        worst: z.array(worstSchema),
      })
      .nullable()
      .describe('of the last one to two minutes, at the last change; null: the server as a whole'),
    evidence: z
      .array(slowFrameSchema)
      .describe(
        'the slowest frames of the last one to two minutes before the last change, with the time in each stage',
      ),
  })
  .meta({ id: 'Alert', description: 'an objective that is not met' });

export type AlertDocument = DeepReadonly<z.output<typeof alertSchema>>;

export const silenceSchema = z
  .object({
    id: z.string(),
    match: z
      .object({ rule: ruleSchema.optional(), class: classSchema.optional(), severity: severitySchema.optional() })
      .describe('alerts with all of these; none of them: every alert'),
    author: z.string().describe('name of the key that made it'),
    comment: z.string(),
    started_at: unixMs('when it was made'),
    ends_at: unixMs('when it ends'),
  })
  .meta({ id: 'Silence', description: 'alerts of which nobody is told for a while' });

export type SilenceDocument = DeepReadonly<z.output<typeof silenceSchema>>;

export const SILENCE_S_MAX = 30 * 86_400;

export const silenceRequest = z.strictObject({
  match: z
    .strictObject({ rule: ruleSchema.optional(), class: classSchema.optional(), severity: severitySchema.optional() })
    .describe('alerts with all of these; none of them: every alert'),
  duration_s: z.number().min(1).max(SILENCE_S_MAX),
  comment: z.string().max(500).default(''),
});

export type SilenceRequest = z.output<typeof silenceRequest>;

export const notificationSchema = z
  .object({
    version: z.literal(1),
    id: z.string().describe('the same for each attempt to deliver it, and for each place that gets it'),
    time: unixMs('when it was made'),
    instance: z.string().describe('name of the server'),
    kind: z.enum(['firing', 'resolved']),
    previous: severitySchema
      .nullable()
      .describe('severity of which was told before; null: this is the first of this alert'),
    alert: alertSchema,
  })
  .meta({ id: 'Notification', description: 'what a webhook and a broker get' });

export type Notification = DeepReadonly<z.output<typeof notificationSchema>>;

const sinkSchema = z.object({
  sink: z.string(),
  queued: count().describe('notifications that wait'),
  delivered: count(),
  retried: count().describe('attempts after which one is made again'),
  refused: count().describe('notifications that the place will not take'),
  given_up: count().describe('notifications for which the time was over'),
  queue_full: count().describe('notifications that gave way to newer ones'),
  last_fault: z.string().nullable(),
  oldest_s: amount().nullable().describe('how long the next one has been waiting; null: none waits'),
});

export type SinkReport = DeepReadonly<z.output<typeof sinkSchema>>;

export const alertsSchema = z
  .object({
    time: unixMs(),
    enabled: z.boolean(),
    alerts: z.array(alertSchema).describe('pending and firing, the gravest first'),
    silences: z.array(silenceSchema),
    history: z.array(alertSchema).describe('changes of alerts, the newest first'),
    sinks: z.array(sinkSchema).describe('places that are told'),
    kept: z.boolean().describe('the store keeps all this: it outlives the server'),
  })
  .meta({ id: 'Alerts', description: 'alerts and silences' });

export type AlertsDocument = DeepReadonly<z.output<typeof alertsSchema>>;
