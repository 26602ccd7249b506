import type { LocalEnd } from './offer.ts';

/** Between the server and its thread for WebRTC. */

/** Channels of data that the other end may open: a viewer's, for names of frames and for what was found in them; a publisher's, for the reason of the end. */
export const LABELS = ['frames', 'results'] as const;
export type Label = (typeof LABELS)[number];
export const PUBLISHER_LABELS = ['end'] as const;

interface OpenConnection {
  readonly type: 'open';
  readonly id: number;
  /** `trimmedOffer`: nothing in it is the other end's own text but what was checked. */
  readonly offer: string;
  readonly remoteUfrag: string;
  readonly role: LocalEnd['role'];
  readonly addresses: readonly string[];
  /** Where sockets listen, by family; left out: at all addresses of the machine. */
  readonly listenAt: { readonly udp4?: string; readonly udp6?: string };
  readonly ports: readonly [first: number, last: number] | undefined;
}

export interface OpenViewer extends OpenConnection {
  readonly kind: 'viewer';
  readonly playoutDelayId: number | undefined;
}

export interface OpenPublisher extends OpenConnection {
  readonly kind: 'publisher';
  /** Local socket of the camera, into which the packets go. */
  readonly inlet: string;
}

export type OpenPeer = OpenViewer | OpenPublisher;
/** What only a kind of peer has. */
export type PeerParts = Pick<OpenViewer, 'kind' | 'playoutDelayId'> | Pick<OpenPublisher, 'kind' | 'inlet'>;

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

/** Of a viewer's or of a publisher's connection. */
export interface PeerCounts {
  /** With pictures: sent, or come. */
  readonly packets: number;
  /** Of their payloads. */
  readonly bytes: number;
  /** Packets that were asked for again, by whoever gets them. */
  readonly asked: number;
  /** Times that whoever gets them could not go on without a key frame; of a publisher's, that it was asked for one. */
  readonly keysAsked: number;
  /** Packets that have come, and for which the camera had no room. */
  readonly dropped: number;
  /** Datagrams that were not let in. */
  readonly strangers: number;
  /** Messages for channels of data that were full. */
  readonly messagesDropped: number;
}

export const NO_PEER_COUNTS: PeerCounts = {
  packets: 0,
  bytes: 0,
  asked: 0,
  keysAsked: 0,
  dropped: 0,
  strangers: 0,
  messagesDropped: 0,
};

export function addPeerCounts(a: PeerCounts, b: PeerCounts): PeerCounts {
  return {
    packets: a.packets + b.packets,
    bytes: a.bytes + b.bytes,
    asked: a.asked + b.asked,
    keysAsked: a.keysAsked + b.keysAsked,
    dropped: a.dropped + b.dropped,
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
  /** The connection is over: `closed` by the other end, `lost`, or it `misbehaved`. */
  | { readonly type: 'over'; readonly id: number; readonly cause: 'closed' | 'lost' | 'misbehaved' }
  /** Its connection is closed, and no word of it comes any more. */
  | { readonly type: 'ended'; readonly id: number }
  /** Something went wrong that belongs to no session. */
  | { readonly type: 'fault'; readonly reason: string };

/** Of one session, once it is open. */
export type PeerEvent = Exclude<PeerNews, { readonly type: 'opened' | 'refused' | 'ended' | 'fault' }>;
