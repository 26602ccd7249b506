import type { SteadyClock } from '../base/clock.ts';
import { part, type Part } from './figures.ts';

/** Changes from outside that a server took up while it ran, or could not. */
export interface Changes {
  taken: number;
  failed: number;
}

export interface LifecycleReport {
  readonly configReloads: Readonly<Changes>;
  readonly keyReads: Readonly<Changes>;
  readonly wallAheadMs: number;
  readonly wallSteps: number;
}

/** What happens to a server from outside. */
export function lifecycleFigures(
  clock: SteadyClock,
  read: () => Pick<LifecycleReport, 'configReloads' | 'keyReads'>,
): Part<LifecycleReport> {
  return part(
    // A step is found when somebody looks.
    () => ({ ...read(), wallAheadMs: clock.wallAheadMs(), wallSteps: clock.wallSteps }),
    [
      {
        name: 'sightline_config_reloads_total',
        kind: 'counter',
        help: 'Times that the configuration file was read again, by whether it was taken up',
        labels: ['outcome'],
        read: ({ configReloads }) => byOutcome(configReloads),
      },
      {
        name: 'sightline_key_file_reads_total',
        kind: 'counter',
        help: 'Changes of the file of keys, by whether they were taken up',
        labels: ['outcome'],
        read: ({ keyReads }) => byOutcome(keyReads),
      },
      {
        name: 'sightline_wall_clock_steps_total',
        kind: 'counter',
        help: 'Times that the wall clock was set, or had drifted away from the steady one by 20 ms',
        read: ({ wallSteps }) => wallSteps,
      },
      {
        name: 'sightline_wall_clock_ahead_seconds',
        kind: 'gauge',
        unit: 'seconds',
        help: 'How far the wall clock is ahead of where it would be if nobody had set it since the start',
        read: ({ wallAheadMs }) => wallAheadMs / 1_000,
      },
    ],
  );
}

function byOutcome({ taken, failed }: Readonly<Changes>) {
  return [
    [['taken'], taken],
    [['failed'], failed],
  ] as const;
}
