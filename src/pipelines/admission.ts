import { EngineControl, type EngineFacts, type FrameDemand } from '../flow/engine-control.ts';
import { sum, type Demand } from '../flow/share.ts';

/**
 * Divides one engine among its members: sessions, files, cameras and the sources of an embedding program alike. Each member reports its
 * demand and the cost of its frames, and is told its rate; a session grants that to its client, a source without a socket keeps to
 * it. The caller sets the pace: `measure` some times a second, `shareOut` after it and when a member joins.
 */

export interface AdmissionMember {
  /** Frames a second; undefined: it is away, and gets nothing. */
  demand(nowMs: number): Omit<Demand, 'floor'> | undefined;
  /** Worker milliseconds that a frame costs; undefined: nothing is known. */
  costMs(): number | undefined;
  /** Its pictures hold a worker for far longer than others do; left out: no. */
  isCostly?(): boolean;
  /** It sends nothing: it takes no part from the others, however many there are like it. Left out: it does. */
  isIdle?(nowMs: number): boolean;
  /** Frames a second that it may send; Infinity: there is enough. Called in every round, whether it has changed or not. */
  onShare(fps: number): void;
}

export class Admission {
  readonly #facts: () => Omit<EngineFacts, 'nowMs' | 'expectedMs'>;
  readonly #control = new EngineControl();
  readonly #members = new Set<AdmissionMember>();

  /** `facts`: totals of the engine so far, and the wait for it since the last call. */
  constructor(facts: () => Omit<EngineFacts, 'nowMs' | 'expectedMs'>) {
    this.#facts = facts;
  }

  /** Capacity for the recent mix of work, frames a second; undefined before anything is known. */
  get capacityFps(): number | undefined {
    return this.#control.capacityFps;
  }

  /** Most frames a second of that mix that all members together are asked for. */
  get rateFps(): number | undefined {
    return this.#control.rateFps;
  }

  /** Share of the workers' time that is used, 0..1. */
  get load(): number {
    return this.#control.load;
  }

  /** It has a share from the next round on. Returns a function that ends its membership, which may be called again. */
  join(member: AdmissionMember): () => void {
    this.#members.add(member);
    return () => this.#members.delete(member);
  }

  measure(nowMs: number): void {
    this.#control.update({ nowMs, ...this.#facts(), expectedMs: this.#expectedMs(nowMs) });
  }

  /**
   * `ceilingFps`: the limit of the process for all together, whatever the engine's capacity. Members that send frames share it among themselves; an
   * idle one may begin with what it would have if all that are idle did: many may begin together.
   */
  shareOut(nowMs: number, ceilingFps = Infinity): void {
    const present: { member: AdmissionMember; demand: FrameDemand; isIdle: boolean }[] = [];
    for (const member of this.#members) {
      const demand = member.demand(nowMs);
      if (!demand) continue;
      const frames = { ...demand, costMs: member.costMs(), isCostly: member.isCostly?.() ?? false };
      present.push({ member, demand: frames, isIdle: member.isIdle?.(nowMs) ?? false });
    }
    const inUse = present.filter(({ isIdle }) => !isIdle);
    const sharesOf = (members: typeof present) =>
      this.#control.shares(
        members.map(({ demand }) => demand),
        ceilingFps,
      );
    for (const [i, share] of sharesOf(inUse).entries()) inUse[i]!.member.onShare(share);
    if (inUse.length === present.length) return;
    for (const [i, share] of sharesOf(present).entries()) {
      const { member, isIdle } = present[i]!;
      if (isIdle) member.onShare(share);
    }
  }

  /** Mean cost of a frame over the current members. */
  #expectedMs(nowMs: number): number | undefined {
    if (this.capacityFps !== undefined) return undefined;
    const costsMs: number[] = [];
    for (const member of this.#members) {
      const costMs = member.demand(nowMs) && member.costMs();
      if (costMs !== undefined) costsMs.push(costMs);
    }
    return costsMs.length === 0 ? undefined : sum(costsMs) / costsMs.length;
  }
}
