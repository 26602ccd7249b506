import { part, type Figure, type Labelled, type Part } from '../observe/figures.ts';
import type { Metrics } from '../observe/metrics.ts';

type EngineReport = Metrics['engine'];

const FIGURES: readonly Figure<EngineReport>[] = [
  {
    name: 'sightline_engine_workers',
    kind: 'gauge',
    help: 'Worker slots by state of their worker; missing ones are being started',
    labels: ['state'],
    read: ({ workerSlots, workers, busy }) => [
      [['busy'], busy],
      [['idle'], Math.max(0, workers - busy)],
      [['missing'], Math.max(0, workerSlots - workers)],
    ],
  },
  {
    name: 'sightline_engine_jobs_total',
    kind: 'counter',
    help: 'Jobs that ended',
    labels: ['outcome'],
    read: ({ completed, failed, refused }) => [
      [['completed'], completed],
      [['failed'], failed],
      [['refused'], refused],
    ],
  },
  {
    name: 'sightline_engine_redispatched_total',
    kind: 'counter',
    help: 'Jobs that were handed to another worker after theirs died',
    read: ({ redispatched }) => redispatched,
  },
  {
    name: 'sightline_engine_worker_restarts_total',
    kind: 'counter',
    help: 'Workers that were replaced because they died or hung',
    read: ({ restarts }) => restarts,
  },
  {
    name: 'sightline_engine_strays',
    kind: 'gauge',
    help: 'Threads that were given up and have not ended yet',
    read: ({ strays }) => strays,
  },
  {
    name: 'sightline_engine_backlog',
    kind: 'gauge',
    help: 'Jobs that wait for a worker',
    read: ({ backlog }) => backlog,
  },
  {
    name: 'sightline_engine_busy_seconds_total',
    kind: 'counter',
    unit: 'seconds',
    help: 'Busy time of all workers together',
    read: ({ busyMs }) => busyMs / 1000,
  },
  {
    name: 'sightline_engine_detections_capped_total',
    kind: 'counter',
    help: 'Candidates that were left out because a frame had reached its limit of detections',
    read: ({ detectionsCapped }) => detectionsCapped,
  },
  {
    name: 'sightline_model_warm_up_seconds',
    kind: 'gauge',
    unit: 'seconds',
    help: 'Time that warming up a model took',
    labels: ['model', 'provider'],
    read: ({ models }) =>
      models.map(({ id, providers, warmUpMs }): Labelled => [[id, providers.effective], warmUpMs / 1000]),
  },
  {
    name: 'sightline_model_runs_total',
    kind: 'counter',
    help: 'Runs of a model by the number of pictures in them',
    labels: ['model', 'pictures'],
    read: ({ models }) =>
      models.flatMap(({ id, batch }) =>
        Object.entries(batch.runs).map(([pictures, count]): Labelled => [[id, pictures], count]),
      ),
  },
];

/** The engine's part of the figures. */
export function enginePart(engine: { stats(): EngineReport }): Part<EngineReport> {
  return part(() => engine.stats(), FIGURES);
}
