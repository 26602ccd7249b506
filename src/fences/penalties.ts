import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import { Bans } from './bans.ts';

/** A client, as a ban would find it again. */
export interface Offender {
  /** Where it comes from; undefined: the connection is gone. */
  readonly address: string | undefined;
  /** Of its session. */
  readonly token: string | undefined;
}

export interface PenaltiesOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly banMs: number;
  /** The name under which an address is banned; undefined: others come from there, too, such as through a proxy. */
  readonly nameOfAddress: (address: string) => string | undefined;
}

/**
 * Bans clients that were disconnected again and again because they publish too fast, or begin large messages and do not end
 * them. A ban sticks to the address and to the token of the session, never to a name: whoever takes the name of another one while that is away must not get it banned.
 */
export class Penalties {
  readonly #options: PenaltiesOptions;
  readonly #bans: Bans;
  readonly #refusals = new Map<string, number>();

  constructor(options: PenaltiesOptions) {
    this.#options = options;
    this.#bans = new Bans(options.banMs);
  }

  /** Connections of a lane that were refused. */
  refusals(lane: string): number {
    return this.#refusals.get(lane) ?? 0;
  }

  /** Throws RATE_EXCEEDED for a client that is banned. */
  require(lane: string, offender: Offender): void {
    const nowMs = this.#options.clock.now();
    for (const { key, text } of this.#namesOf(offender, 'this session')) {
      const untilMs = this.#bans.bannedUntil(key, nowMs);
      if (untilMs === undefined) continue;
      this.#refusals.set(lane, this.refusals(lane) + 1);
      throw new SightlineError('RATE_EXCEEDED', `${text} may not connect for ${Math.ceil((untilMs - nowMs) / 1000)} s`);
    }
  }

  /** Clients of the address may not connect. */
  isBanned(remoteAddress: string): boolean {
    const nowMs = this.#options.clock.now();
    return this.#namesOf({ address: remoteAddress, token: undefined }, '').some(
      ({ key }) => this.#bans.bannedUntil(key, nowMs) !== undefined,
    );
  }

  /** The client was disconnected for what it did. */
  disconnected(lane: string, clientId: string, offender: Offender): void {
    const nowMs = this.#options.clock.now();
    for (const { key, text } of this.#namesOf(offender, `session ${clientId}`)) {
      this.#bans.disconnected(key, nowMs);
      const untilMs = this.#bans.bannedUntil(key, nowMs);
      if (untilMs === undefined) continue;
      this.#options.log.write('client_banned', { lane, name: text, ban_s: (untilMs - nowMs) / 1000 });
    }
  }

  /** `key` tells a token, `text` is for people. */
  #namesOf({ address, token }: Offender, session: string): { readonly key: string; readonly text: string }[] {
    const from = address === undefined ? undefined : this.#options.nameOfAddress(address);
    return [
      ...(token === undefined ? [] : [{ key: `token ${token}`, text: session }]),
      ...(from === undefined ? [] : [{ key: `address ${from}`, text: `address ${from}` }]),
    ];
  }
}
