import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { toMb } from '../support/numbers.ts';
import type { MemoryLeft } from './memory-preload.ts';

/** What a server has of the machine's memory, from outside and from inside. */

const SAMPLE_MS = 50;
const LEFT_TIMEOUT_MS = 15_000;
const LEFT_POLL_MS = 20;

/** Samples the resident size of a process by Linux' proc(5); elsewhere nothing is known. */
export class ResidentSize {
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;
  #peakMb = Number.NaN;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
    this.#sample();
  }

  /** Of its samples. NaN: the process was never seen. */
  get peakMb(): number {
    return this.#peakMb;
  }

  stop(): void {
    this.#sample();
    clearInterval(this.#timer);
  }

  #sample(): void {
    const mb = residentMb(this.#pid);
    if (mb !== undefined) this.#peakMb = Number.isNaN(this.#peakMb) ? mb : Math.max(this.#peakMb, mb);
  }
}

/** Undefined: it is gone, or there is no /proc. */
export function residentMb(pid: number): number | undefined {
  try {
    const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return kb === undefined ? undefined : toMb(Number(kb) * 1_024);
  } catch {
    return undefined;
  }
}

/** Node's arguments with which a server answers `memoryLeftMb`. */
export function memoryArgs(file: string): string[] {
  const preload = new URL('memory-preload.ts', import.meta.url);
  preload.searchParams.set('file', file);
  return ['--expose-gc', '--import', preload.href];
}

/** Heap and external memory of the main thread after a collection; NaN: the server does not answer. */
export async function memoryLeftMb(pid: number, file: string): Promise<number> {
  const before = await countIn(file);
  try {
    process.kill(pid, 'SIGUSR2');
  } catch {
    return Number.NaN;
  }
  const deadlineMs = performance.now() + LEFT_TIMEOUT_MS;
  while (performance.now() < deadlineMs) {
    await sleep(LEFT_POLL_MS);
    const left = await readLeft(file);
    if (left !== undefined && left.count > before) return toMb(left.heapBytes + left.externalBytes);
  }
  return Number.NaN;
}

async function countIn(file: string): Promise<number> {
  return (await readLeft(file))?.count ?? 0;
}

async function readLeft(file: string): Promise<MemoryLeft | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as MemoryLeft);
}
