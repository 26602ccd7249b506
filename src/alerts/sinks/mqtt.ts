import type { IClientOptions, MqttClient } from 'mqtt';
import type { SendOutcome, Sink } from '../delivery.ts';
import type { Notification } from '../documents.ts';
import type { Outbound } from './outbound.ts';

/**
 * Notifications to a broker of MQTT 3.1.1: QoS 1, so that the broker confirms each one, and not retained, so that nobody takes an old one for
 * news. The library is loaded with the first notification.
 */

export interface MqttParts {
  readonly url: string;
  readonly topicPrefix: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly timeoutMs: number;
  readonly outbound: Pick<Outbound, 'requireHost'>;
}

/** Before the broker has confirmed it the library keeps a message; more than this one it never has. */
const KEEPALIVE_S = 30;

export class MqttSink implements Sink {
  readonly name = 'mqtt';
  readonly #parts: MqttParts;
  #client: MqttClient | undefined;
  #isClosed = false;

  constructor(parts: MqttParts) {
    this.#parts = parts;
  }

  async send(notification: Notification, signal: AbortSignal): Promise<SendOutcome> {
    const { rule, class: name } = notification.alert;
    const topic = `${this.#parts.topicPrefix}/alerts/${rule}/${name ?? 'server'}`;
    try {
      const client = await this.#connected(signal);
      await raced(client.publishAsync(topic, JSON.stringify(notification), { qos: 1, retain: false }), signal);
      return { kind: 'delivered' };
    } catch (thrown) {
      // With it goes what it would send again by itself: the queue does that.
      this.#drop();
      const { fault, message } = thrown as Error & { fault?: string };
      return { kind: fault === 'forbidden' ? 'refused' : 'failed', reason: message || 'the broker cannot be reached' };
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  async #connected(signal: AbortSignal): Promise<MqttClient> {
    if (this.#client?.connected) return this.#client;
    this.#drop();
    const { url, username, password, timeoutMs, outbound } = this.#parts;
    await outbound.requireHost(new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'));
    const { default: mqtt } = await import('mqtt');
    if (this.#isClosed || signal.aborted) throw new Error('it is given up');
    const options: IClientOptions = {
      clean: true,
      keepalive: KEEPALIVE_S,
      connectTimeout: timeoutMs,
      // The next notification, or the next attempt, connects again.
      reconnectPeriod: 0,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
    };
    const client = mqtt.connect(url, options);
    this.#client = client;
    const opened = new Promise<void>((resolve, reject) => {
      client.on('connect', () => resolve());
      client.on('error', reject);
      client.on('close', () => reject(new Error('the broker has closed the connection')));
    });
    await raced(opened, signal);
    return client;
  }

  #drop(): void {
    this.#client?.end(true);
    this.#client = undefined;
  }
}

/** The promise, unless it is given up before. */
async function raced<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  // Whichever comes later is nobody's.
  promise.catch(() => undefined);
  signal.throwIfAborted();
  const given = Promise.withResolvers<never>();
  const onAbort = (): void => given.reject(new Error('no answer in time'));
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([promise, given.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
