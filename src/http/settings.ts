import { fileURLToPath } from 'node:url';
import { isLoopback } from '../base/addresses.ts';
import type { Config } from '../config/schema.ts';
import { ownNames } from '../tls/names.ts';
import type { EventSettings } from './events.ts';
import type { OpenApiInfo } from './openapi.ts';
import type { HttpServerOptions } from './server.ts';

/** The configuration's part for this room, in the room's own terms. */

/** A message over the limit is refused and the session lives on; one over this multiple of the limit closes its socket. */
const HARD_LIMIT_FACTOR = 2;
/** Folder of the built pages, in the clone and in the package. */
export const PAGE_DIR = fileURLToPath(new URL('../../dashboard/dist', import.meta.url));

/** A browser keeps idle connections for longer, and Fastify's own default is this. */
const KEEP_ALIVE_MS = 72_000;
/** How long a refused client has to read why. */
const LINGER_MS = 2_000;

type HttpSettings = Omit<
  HttpServerOptions,
  'clock' | 'log' | 'access' | 'fences' | 'descriptors' | 'sockets' | 'routes'
>;

export function httpSettings({ server, streaming, telemetry }: Config): HttpSettings {
  const isLocal = isLoopback(server.host);
  return {
    host: server.host,
    port: server.port,
    rules: {
      hosts: [server.host, ...(isLocal ? [] : ownNames()), ...server.allowed_hosts],
      takesAddresses: !isLocal,
      origins: server.allowed_origins,
      allowedHosts: server.allowed_hosts,
    },
    basePath: basePathOf(server),
    trustedProxies: server.trusted_proxies,
    connections: {
      connectionsMax: server.max_connections,
      addresses: {
        connectionsMax: server.max_connections_per_address ?? Math.ceil(server.max_connections / 2),
        ratePerS: server.connection_rate_per_address,
        unbounded: unboundedAddresses(server),
      },
      unreadTimeoutMs: server.unread_timeout_ms,
      answerBytesMax: server.answer_bytes_max,
      reservedDescriptors: server.reserved_descriptors,
      lingerMs: LINGER_MS,
      closeTimeoutMs: streaming.close_timeout_s * 1000,
    },
    headerTimeoutMs: server.header_timeout_ms,
    requestTimeoutMs: server.request_timeout_ms,
    keepAliveTimeoutMs: KEEP_ALIVE_MS,
    shutdownTimeoutMs: server.shutdown_timeout_ms,
    messageBytesHardMax: Math.max(streaming.message_bytes_max, telemetry.message_bytes_max) * HARD_LIMIT_FACTOR,
    pageDir: PAGE_DIR,
  };
}

/** `/sightline`, or empty. */
export function basePathOf({ base_path: path }: Config['server']): string {
  return path === '/' ? '' : path;
}

/** Many clients come by one proxy: a bound for its address would be one for all of them. */
export function unboundedAddresses(server: Config['server']): readonly string[] {
  return [...server.unbounded_addresses, ...server.trusted_proxies];
}

export function eventSettings({ streaming }: Config): EventSettings {
  return { heartbeatMs: streaming.sse_heartbeat_s * 1000, bufferBytesMax: streaming.send_buffer_bytes_max };
}

/** The description of the server in the API's document. */
export function apiInfo(version: string, { server }: Config): OpenApiInfo {
  return {
    basePath: basePathOf(server),
    title: 'Sightline',
    version,
    description:
      'A real-time perception server. Video, telemetry and cameras go over WebSockets (`/ws/video`, `/stream/detection`, `/ws/telemetry`, `/ws/foxglove`, `/ws/cameras`), which are described in docs/protocol.md.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  };
}
