import { createHmac } from 'node:crypto';
import { wallTimeMs, type Clock } from '../../base/clock.ts';
import type { SendOutcome, Sink } from '../delivery.ts';
import type { Notification } from '../documents.ts';
import { post } from './http.ts';
import type { Outbound } from './outbound.ts';

/** Notifications as JSON by POST, signed. */

export interface WebhookParts {
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly url: string;
  /** undefined: they are not signed. */
  readonly secret: string | undefined;
  readonly timeoutMs: number;
}

/**
 * `t=<Unix seconds>,v1=<hex>`: HMAC-SHA256 (RFC 2104) with the secret over the seconds, a full stop and the body's bytes. The time is in it,
 * so that an old message cannot be sent again; the form is that of Stripe's webhooks.
 */
export function signatureOf(secret: string, seconds: number, body: string): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`;
}

export class Webhook implements Sink {
  readonly name = 'webhook';
  readonly #parts: WebhookParts;

  constructor(parts: WebhookParts) {
    this.#parts = parts;
  }

  send(notification: Notification, signal: AbortSignal): Promise<SendOutcome> {
    const { outbound, clock, url, secret, timeoutMs } = this.#parts;
    const wallMs = wallTimeMs(clock);
    const body = JSON.stringify(notification);
    const headers = {
      'Sightline-Notification': notification.id,
      ...(secret !== undefined && { 'Sightline-Signature': signatureOf(secret, Math.floor(wallMs / 1_000), body) }),
    };
    return post(outbound, { url, body, headers, timeoutMs, signal, wallMs });
  }

  close(): void {
    // Its connections end with their requests.
  }
}
