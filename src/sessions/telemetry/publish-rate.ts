import { SightlineError } from '../../base/errors.ts';
import { freshRate, judgeRate, type RateSettings, type RateState } from '../../flow/rate-limit.ts';
import type { Log } from '../../log/log.ts';
import type { Outbox } from './outbox.ts';
import type { About, SessionClient } from './session-client.ts';
import { PauseReason } from '../socket-reading.ts';

/** A client whose publications are refused is told so again, at most so often. */
const REFUSAL_INTERVAL_MS = 1_000;

export interface PublishRateHost {
  readonly log: Log;
  readonly settings: { readonly rate: RateSettings };
}

/** Holds one client to the rate at which it may publish, with warnings and penalties. */
export class PublishRate {
  /** Messages that were refused. */
  refused = 0;
  readonly #host: PublishRateHost;
  readonly #client: SessionClient;
  /** Since the first publication. */
  #state: RateState | undefined;
  #toldMs = -Infinity;
  /** Messages without numbers that were refused since that was told. */
  #untold = 0;
  #pause: NodeJS.Timeout | undefined;

  constructor(host: PublishRateHost, client: SessionClient) {
    this.#host = host;
    this.#client = client;
  }

  /** Whether the messages may be published now. If not, the client is told, once in a while. */
  admits(messages: number, bytes: number, nowMs: number, about: About): boolean {
    const { settings, log } = this.#host;
    const { rate } = settings;
    const before = this.#state ?? freshRate(rate, nowMs);
    const { state, allowed, penalty, pauseMs } = judgeRate(before, messages, bytes, nowMs, rate);
    this.#state = state;
    if (!allowed) this.refused += messages;
    const { clientId, outbox } = this.#client;
    if (penalty === 'disconnect' || penalty === 'mute') {
      log.write('rate_limited', { lane: 'telemetry', client_id: clientId, penalty });
    }
    if (penalty === 'disconnect') {
      this.#client.expel(new SightlineError('RATE_EXCEEDED', `more than ${rate.messagesPerS} messages a second`));
      return false;
    }
    if (penalty !== 'none') {
      const message = `publishing faster than ${rate.messagesPerS} messages or ${rate.bytesPerS} bytes a second`;
      outbox?.writer.control({ type: 'notice', reason: 'rate', message, penalty });
    }
    if (penalty === 'slow') this.#pauseReading(outbox, pauseMs);
    if (allowed) return true;
    if (about.seq === undefined) this.#untold += messages;
    if (nowMs - this.#toldMs >= REFUSAL_INTERVAL_MS) this.#tell(nowMs, about);
    return false;
  }

  /** To be called about once a second. */
  check(nowMs: number): void {
    if (this.#untold > 0 && this.#client.outbox !== undefined) this.#tell(nowMs, {});
  }

  /** The session has lost its socket. */
  onLost(): void {
    clearTimeout(this.#pause);
  }

  /** Messages with a number come again by themselves; of the others it is told how many were refused. */
  #tell(nowMs: number, about: About): void {
    this.#toldMs = nowMs;
    const error = new SightlineError('RATE_EXCEEDED', 'publications are refused for a while');
    if (about.seq !== undefined) return this.#client.tell(error, about);
    this.#client.tell(error, { ...about, count: this.#untold });
    this.#untold = 0;
  }

  #pauseReading(outbox: Outbox | undefined, forMs: number): void {
    outbox?.writer.pause(PauseReason.throttled);
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => outbox?.writer.resume(PauseReason.throttled), forMs);
    this.#pause.unref();
  }
}
