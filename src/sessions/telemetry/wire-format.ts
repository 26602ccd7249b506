import type { PayloadCodec, TelemetrySubprotocol } from '../../protocol/telemetry.ts';

/** How the messages of a subscription are encoded. Make it with `wireFormatOf`. */
export interface WireFormat {
  readonly protocol: TelemetrySubprotocol;
  /** For the binary subprotocol: what the reader can read, best first. */
  readonly codecs: readonly PayloadCodec[];
  /** The same for all subscriptions that get the same bytes. */
  readonly key: string;
}

/** For a reader that names none. MessagePack before JSON, which has no NaN, no infinities and no −0. */
const CODECS: readonly PayloadCodec[] = ['columns', 'msgpack', 'json', 'bytes'];

export function wireFormatOf(protocol: TelemetrySubprotocol, codecs: readonly PayloadCodec[] = CODECS): WireFormat {
  const isBinary = protocol === 'sightline.v1.binary';
  return { protocol, codecs, key: isBinary ? `${protocol} ${codecs.join()}` : protocol };
}
