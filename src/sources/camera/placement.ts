/** Which camera is read where, and which ones are read at all. Pure. */

/** A process, as far as its place for cameras goes. */
export interface ProcessRoom {
  readonly cameras: number;
  readonly camerasMax: number;
}

/** A further process costs some 60 MB: one that has fewer cameras takes one more instead. */
const FEW = 4;

/** Index of the process for one more camera; `new`: one is to be started for it. */
export function processFor(processes: readonly ProcessRoom[], processesMax: number): number | 'new' {
  let least = -1;
  for (const [i, { cameras, camerasMax }] of processes.entries()) {
    if (cameras < camerasMax && (least < 0 || cameras < processes[least]!.cameras)) least = i;
  }
  // All are full only after the bound for cameras was raised: those that run were made for fewer.
  if (least < 0) return 'new';
  return processes[least]!.cameras >= FEW && processes.length < processesMax ? 'new' : least;
}

/** What a process is made for, so that all of them together have room for every camera. */
export function camerasPerProcess(streamsMax: number, processes: number): number {
  return Math.max(FEW, Math.ceil(streamsMax / processes));
}

/** A process's end counts against the cameras that it was reading for so long. */
const SUSPICION_MS = 600_000;
const CRASHES_MAX = 2;

/** Times when a process ended while it read a camera: those that still count, with a new one. */
export function withCrash(crashesMs: readonly number[], nowMs: number): number[] {
  return [...crashesMs, nowMs].filter((atMs) => nowMs - atMs < SUSPICION_MS).slice(-CRASHES_MAX);
}

/** It must not bring down others with it again: it gets a process of its own. */
export function isSuspect(crashesMs: readonly number[], nowMs: number): boolean {
  return crashesMs.filter((atMs) => nowMs - atMs < SUSPICION_MS).length >= CRASHES_MAX;
}

/**
 * The cameras that are read where there are too many: one that has a place keeps it, as adding a camera disturbs no other; free places go to the
 * others in the order of their ids. Where there are fewer places than before, the last ids lose theirs.
 */
export function admitted(wanted: readonly string[], having: ReadonlySet<string>, max: number): Set<string> {
  const inOrder = wanted.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const kept = inOrder.filter((id) => having.has(id)).slice(0, max);
  const others = inOrder.filter((id) => !having.has(id)).slice(0, max - kept.length);
  return new Set([...kept, ...others]);
}
