import type { Config } from '../../config/schema.ts';
import type { WebRtcSettings } from './session-book.ts';

/** The configuration's part for this room, in the room's own terms. */

export function webRtcSettings({ server, webrtc }: Config): WebRtcSettings {
  const { udp_port_first: first, udp_port_last: last } = webrtc;
  return {
    isEnabled: webrtc.enabled,
    host: server.host,
    hostCandidates: webrtc.host_candidates,
    ports: first === 0 ? undefined : [first, last],
    connectTimeoutMs: webrtc.connect_timeout_ms,
    sessionsMax: webrtc.sessions_max,
    publishersMax: webrtc.publishers_max,
    sessionsPerAddressMax: webrtc.sessions_per_address_max,
  };
}
