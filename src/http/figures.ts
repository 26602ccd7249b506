import { part } from '../observe/figures.ts';
import type { TlsReport } from '../observe/metrics.ts';
import type { RoomParts } from '../observe/server-monitor.ts';
import type { HttpServer } from './server.ts';

/** Measurements of the server's sockets. */
export function httpParts(
  server: HttpServer,
  certificates: { report(): TlsReport } | undefined,
): Pick<RoomParts, 'network' | 'connections' | 'sockets' | 'tls'> {
  return {
    tls: part(
      () => certificates?.report() ?? null,
      [
        {
          name: 'sightline_tls_certificate_expires_timestamp_seconds',
          kind: 'gauge',
          unit: 'seconds',
          help: 'When the certificate in use ends, Unix time; nothing without TLS',
          read: (tls) => (tls === null ? null : tls.certificate_expires / 1000),
        },
        {
          name: 'sightline_tls_certificate_changes_total',
          kind: 'counter',
          help: 'Changes of the files of the certificate, by whether they were taken up',
          labels: ['outcome'],
          read: (tls) =>
            tls === null
              ? []
              : [
                  [['taken'], tls.reloads],
                  [['failed'], tls.failures],
                ],
        },
      ],
    ),
    network: part(
      () => server.traffic,
      [
        {
          name: 'sightline_network_received_bytes_total',
          kind: 'counter',
          unit: 'bytes',
          help: 'Bytes received on all TCP connections, framing included',
          read: ({ received_bytes }) => received_bytes,
        },
        {
          name: 'sightline_network_sent_bytes_total',
          kind: 'counter',
          unit: 'bytes',
          help: 'Bytes sent on all TCP connections, framing included',
          read: ({ sent_bytes }) => sent_bytes,
        },
      ],
    ),
    connections: part(
      () => server.connections(),
      [
        {
          name: 'sightline_connections',
          kind: 'gauge',
          help: 'Open WebSockets and event streams, by their address on the server',
          labels: ['endpoint'],
          read: ({ endpoints }) => endpoints.map(({ endpoint, open }) => [[endpoint], open] as const),
        },
        {
          name: 'sightline_connections_limit',
          kind: 'gauge',
          help: 'WebSockets and event streams that may be open at once',
          read: ({ max }) => max,
        },
        {
          name: 'sightline_connections_opened_total',
          kind: 'counter',
          help: 'WebSockets and event streams that were opened',
          read: ({ opened }) => opened,
        },
        {
          name: 'sightline_connections_refused_total',
          kind: 'counter',
          help: 'Connections that were refused because all were taken',
          read: ({ refused }) => refused,
        },
        {
          name: 'sightline_connections_buffered_bytes',
          kind: 'gauge',
          unit: 'bytes',
          help: 'Bytes that were written and that the operating system has not taken yet',
          labels: ['endpoint'],
          read: ({ endpoints }) =>
            endpoints.map(({ endpoint, buffered_bytes }) => [[endpoint], buffered_bytes] as const),
        },
      ],
    ),
    sockets: part(
      () => server.socketsReport(),
      [
        {
          name: 'sightline_sockets',
          kind: 'gauge',
          help: 'Open TCP connections, by what they are doing',
          labels: ['state'],
          read: ({ open }) => Object.entries(open).map(([state, sockets]) => [[state], sockets] as const),
        },
        {
          name: 'sightline_sockets_limit',
          kind: 'gauge',
          help: 'TCP connections that may be open at once',
          read: ({ max }) => max,
        },
        {
          name: 'sightline_sockets_accepted_total',
          kind: 'counter',
          help: 'TCP connections that were accepted',
          read: ({ accepted }) => accepted,
        },
        {
          name: 'sightline_sockets_ended_total',
          kind: 'counter',
          help: 'TCP connections that have ended, by why; closed: in the ordinary way, by either side',
          labels: ['cause'],
          read: ({ ended }) => Object.entries(ended).map(([cause, sockets]) => [[cause], sockets] as const),
        },
        {
          name: 'sightline_sockets_refused_total',
          kind: 'counter',
          help: 'TCP connections that were refused by a bound of their address: open ones, new ones a second, or TLS handshakes that failed',
          labels: ['bound'],
          read: ({ refused }) => Object.entries(refused).map(([bound, sockets]) => [[bound], sockets] as const),
        },
        {
          name: 'sightline_tls_handshakes_failed_total',
          kind: 'counter',
          help: 'TLS handshakes that failed, by why; untrusted: the client does not take the certificate; ended: it went away',
          labels: ['cause'],
          read: ({ handshakes_failed }) =>
            Object.entries(handshakes_failed).map(([cause, handshakes]) => [[cause], handshakes] as const),
        },
        {
          name: 'sightline_sockets_addresses',
          kind: 'gauge',
          help: 'Addresses with an open TCP connection',
          read: ({ addresses }) => addresses,
        },
        {
          name: 'sightline_answers_unsent_bytes',
          kind: 'gauge',
          unit: 'bytes',
          help: 'Bytes of answers to requests that clients have not taken yet',
          read: ({ answer_bytes }) => answer_bytes,
        },
        {
          name: 'sightline_requests_waiting',
          kind: 'gauge',
          help: 'Requests and handshakes that wait for their turn on the main thread',
          read: ({ requests_waiting }) => requests_waiting,
        },
      ],
    ),
  };
}
