import { statusOf } from '../base/error-catalogue.ts';
import type { SightlineError } from '../base/errors.ts';
import { redactText } from '../log/redact.ts';
import { RETRY_AFTER_MS } from '../base/retry-after.ts';

/** Parts that every answer of this server has in common, those that are written without Fastify included. */

/** On every answer, whatever it is. */
export const SECURITY_HEADERS = new Map([
  [
    'Content-Security-Policy',
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' ws: wss:; worker-src 'self' blob:; frame-ancestors 'none'",
  ],
  ['Referrer-Policy', 'no-referrer'],
  ['X-Content-Type-Options', 'nosniff'],
]);

export const WEBSOCKET_VERSION = '13';
const MESSAGE_CHARS_MAX = 10_000;

/** A message may quote what came, or a setting. */
export function errorBody(error: SightlineError) {
  return { error: { code: error.code, message: redactText(error.message, MESSAGE_CHARS_MAX) } };
}

/** Headers that the status demands (RFC 9110 §15.5.22, RFC 6455 §4.4), or that help the client (§10.2.3). */
export function headersOf({ code }: SightlineError, httpVersion = 1): Record<string, string> {
  // RFC 9110 §15.5.2
  if (code.startsWith('CREDENTIALS_')) return { 'WWW-Authenticate': 'Bearer' };
  if (code === 'SHUTTING_DOWN') return { 'Retry-After': String(Math.ceil(RETRY_AFTER_MS / 1_000)) };
  // HTTP/2 has no upgrades (RFC 9113 §8.6).
  if (code !== 'UPGRADE_REQUIRED' || httpVersion > 1) return {};
  return { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': WEBSOCKET_VERSION };
}

/** A whole answer as it goes over the line, for a socket without a response of Node's. The connection ends with it. */
export function rawAnswer(error: SightlineError): string {
  const body = JSON.stringify(errorBody(error));
  const headers = {
    Connection: 'close',
    ...headersOf(error),
    ...Object.fromEntries(SECURITY_HEADERS),
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(body)),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${statusOf(error)} ${error.code}\r\n${lines.join('')}\r\n${body}`;
}
