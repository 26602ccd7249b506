import { systemClock } from '../../src/base/clock.ts';
import { openFences } from '../../src/fences/fences.ts';
import type { HttpServerOptions } from '../../src/http/server.ts';
import { openAccess } from './access.ts';

const BYTES_MAX = 1_000_000_000;

/** Of an HTTP server for tests: everybody may do everything, and no time or bound is met unless the test sets another one. */
export function httpOptions(): Omit<HttpServerOptions, 'log' | 'sockets' | 'routes'> {
  return {
    clock: systemClock,
    access: openAccess(),
    fences: openFences({ clock: systemClock }),
    host: '127.0.0.1',
    port: 0,
    trustedProxies: [],
    rules: { hosts: ['127.0.0.1'], origins: [] },
    descriptors: { max: undefined, intervalMs: 0, count: () => undefined },
    headerTimeoutMs: 10_000,
    requestTimeoutMs: 10_000,
    keepAliveTimeoutMs: 10_000,
    shutdownTimeoutMs: 100,
    messageBytesHardMax: 10_000,
    pageDir: '/nowhere',
    connections: {
      connectionsMax: 100,
      addresses: { connectionsMax: 1_000, ratePerS: 1_000, unbounded: ['127.0.0.0/8'] },
      unreadTimeoutMs: 10_000,
      answerBytesMax: BYTES_MAX,
      reservedDescriptors: 0,
      lingerMs: 10_000,
      closeTimeoutMs: 10_000,
    },
  };
}
