import type { LocalEnd } from './offer.ts';

/** Between the server and its thread for WebRTC. */

/** Names of frames, and what was found in them: the channels of data that a viewer may open. */
export const LABELS = ['frames', 'results'] as const;
export type Label = (typeof LABELS)[number];

export interface OpenPeer {
  readonly type: 'open';
  readonly id: number;
  /** `trimmedOffer`: nothing in it is a viewer's own text but what was checked. */
  readonly offer: string;
  readonly remoteUfrag: string;
  readonly role: LocalEnd['role'];
  readonly payloadType: number;
  readonly playoutDelayId: number | undefined;
  readonly addresses: readonly string[];
  /** Where sockets listen, by family; left out: at all addresses of the machine. */
  readonly listenAt: { readonly udp4?: string; readonly udp6?: string };
  readonly ports: readonly [first: number, last: number] | undefined;
}

/** One frame. Its bytes are copied into the thread. */
export interface SendFrame {
  readonly type: 'frame';
  readonly id: number;
  readonly stamp: number;
  /** A fragment of MP4. */
  readonly bytes: Uint8Array;
  /** Before a key frame. */
  readonly sets: readonly Uint8Array[];
  /** What the channel `frames` says of it. */
  readonly name: string;
}

export type PeerRequest =
  | OpenPeer
  | SendFrame
  | { readonly type: 'text'; readonly id: number; readonly label: Label; readonly text: string }
  /** `last`: is said on the channels before. */
  | { readonly type: 'close'; readonly id: number; readonly last: string | undefined };

export interface PeerCounts {
  readonly packets: number;
  /** Of payloads. */
  readonly bytes: number;
  /** Packets that the viewer has asked for again. */
  readonly asked: number;
  /** Times that it could not go on without a key frame. */
  readonly pictureLosses: number;
  /** Datagrams that were not let in. */
  readonly strangers: number;
  /** Messages for channels of data that were full. */
  readonly messagesDropped: number;
}

export const NO_PEER_COUNTS: PeerCounts = {
  packets: 0,
  bytes: 0,
  asked: 0,
  pictureLosses: 0,
  strangers: 0,
  messagesDropped: 0,
};

export function addPeerCounts(a: PeerCounts, b: PeerCounts): PeerCounts {
  return {
    packets: a.packets + b.packets,
    bytes: a.bytes + b.bytes,
    asked: a.asked + b.asked,
    pictureLosses: a.pictureLosses + b.pictureLosses,
    strangers: a.strangers + b.strangers,
    messagesDropped: a.messagesDropped + b.messagesDropped,
  };
}

export type PeerNews =
  | { readonly type: 'opened'; readonly id: number; readonly local: LocalEnd }
  | { readonly type: 'refused'; readonly id: number; readonly reason: string }
  | { readonly type: 'connected'; readonly id: number }
  | { readonly type: 'channel'; readonly id: number; readonly label: Label }
  /** All packets of a frame were given to the socket. */
  | { readonly type: 'sent'; readonly id: number; readonly bytes: number }
  | { readonly type: 'lost_picture'; readonly id: number }
  | { readonly type: 'counts'; readonly id: number; readonly counts: PeerCounts }
  /** The connection is over: `closed` by the viewer, `lost`, or it `misbehaved`. */
  | { readonly type: 'over'; readonly id: number; readonly cause: 'closed' | 'lost' | 'misbehaved' }
  /** Something went wrong that belongs to no session. */
  | { readonly type: 'fault'; readonly reason: string };
