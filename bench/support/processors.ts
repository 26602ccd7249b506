import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** Processor time by thread, from Linux's `/proc`; elsewhere nothing is known and the figures are left out. */

/** Ticks of `/proc/<pid>/stat` in a second: fixed to 100 in the interface of the kernel (`USER_HZ`). */
const TICKS_PER_S = 100;

export interface ProcessorTimes {
  readonly timeMs: number;
  /** Of the whole machine, all cores, idle left out. */
  readonly busyS: number;
  /** By pid: of the main thread and of all others together. */
  readonly processes: ReadonlyMap<number, { readonly mainS: number; readonly othersS: number }>;
}

export function readProcessors(pids: readonly number[]): ProcessorTimes {
  const busyMs = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  return {
    timeMs: performance.now(),
    busyS: busyMs / 1000,
    processes: new Map(pids.map((pid) => [pid, readThreads(pid)])),
  };
}

function readThreads(pid: number): { mainS: number; othersS: number } {
  let mainS = 0;
  let othersS = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const seconds = threadSeconds(`/proc/${pid}/task/${thread}`);
      if (thread === String(pid)) mainS += seconds;
      else othersS += seconds;
    }
  } catch {
    // No /proc, or a thread that ended meanwhile.
  }
  return { mainS, othersS };
}

/** To the nanosecond where the kernel keeps that account, the first field of `schedstat`; else in its ticks. */
function threadSeconds(thread: string): number {
  const ns = Number(readIfThere(`${thread}/schedstat`).split(' ')[0]);
  return ns > 0 ? ns / 1e9 : tickedSeconds(readFileSync(`${thread}/stat`, 'utf8'));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** `utime` and `stime` are fields 14 and 15 (proc(5)); the name in field 2 may hold blanks, so count from its end. */
function tickedSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** Adds up what was used in several spans of time; 1 is one core, busy all the time. */
export class CoreUse {
  #seconds = 0;
  #busyS = 0;
  readonly #processes = new Map<number, { mainS: number; othersS: number }>();

  add(from: ProcessorTimes, to: ProcessorTimes): void {
    this.#seconds += (to.timeMs - from.timeMs) / 1000;
    this.#busyS += to.busyS - from.busyS;
    for (const [pid, { mainS, othersS }] of to.processes) {
      const before = from.processes.get(pid) ?? { mainS: 0, othersS: 0 };
      const sum = this.#processes.get(pid) ?? { mainS: 0, othersS: 0 };
      sum.mainS += mainS - before.mainS;
      sum.othersS += othersS - before.othersS;
      this.#processes.set(pid, sum);
    }
  }

  main(pid: number): number {
    return (this.#processes.get(pid)?.mainS ?? 0) / this.#seconds;
  }

  others(pid: number): number {
    return (this.#processes.get(pid)?.othersS ?? 0) / this.#seconds;
  }

  /** Used by processes that are not ours: how disturbed the measurement was. */
  get foreign(): number {
    let ours = 0;
    for (const { mainS, othersS } of this.#processes.values()) ours += mainS + othersS;
    return Math.max(0, (this.#busyS - ours) / this.#seconds);
  }
}
