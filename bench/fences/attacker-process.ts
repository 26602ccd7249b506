import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { offer } from '../support/children.ts';
import { attackNamed } from './attacks/catalogue.ts';
import { Target, type Tally, type TargetAddress } from './target.ts';

/** The attacker, in a process of its own. */

export interface Assault extends TargetAddress {
  readonly attack: string;
  /** Unix ms. */
  readonly startTimeMs: number;
  readonly spanMs: number;
}

const api = {
  run: async ({ attack, startTimeMs, spanMs, port, from }: Assault): Promise<Tally> => {
    await sleep(Math.max(0, startTimeMs - systemClock.now()));
    const target = new Target({ port, from }, performance.now() + spanMs - (systemClock.now() - startTimeMs));
    try {
      await attackNamed(attack).run(target);
      return target.tally;
    } finally {
      target.close();
    }
  },
};

export type AttackerApi = typeof api;

offer(api);
