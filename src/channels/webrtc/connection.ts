import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  RTCPeerConnection,
  RTCRtpCodecParameters,
  type RTCDataChannel,
  type RtcpPacket,
  type RTCRtpTransceiver,
  type RTCSctpTransport,
  type StunProtocol,
} from 'werift';
import { Gate } from './gate.ts';
import type { OpenPeer } from './messages.ts';
import type { LocalEnd } from './offer.ts';

/** The server's end of a connection, in the thread for WebRTC. The connection itself (ICE, DTLS, SRTP, SCTP) is werift's. */

/** Bytes that wait in a channel of data. */
const CHANNEL_BYTES_MAX = 256 * 1024;
/** Channels that the other end may open; whoever opens more is neither a viewer nor a publisher. */
const CHANNELS_MAX = 8;
/** For the reason of the end to arrive. No pictures go any more. */
const LAST_WORDS_MS_MAX = 1_000;
const ACKNOWLEDGED_POLL_MS = 20;

export interface ConnectionListener {
  connected(): void;
  /** The other end has opened one of its channels. */
  channel(label: string): void;
  /** It has ended by itself. */
  over(cause: 'closed' | 'lost' | 'misbehaved'): void;
}

export class Connection {
  readonly #labels: readonly string[];
  readonly #listener: ConnectionListener;
  readonly #connection: RTCPeerConnection;
  readonly #channels = new Map<string, RTCDataChannel>();
  #gate: Gate | undefined;
  #opened = 0;
  #messagesDropped = 0;
  #isOver = false;

  /** `labels`: of the channels of data that the other end may open. */
  constructor({ addresses, listenAt, ports }: OpenPeer, labels: readonly string[], listener: ConnectionListener) {
    this.#labels = labels;
    this.#listener = listener;
    this.#connection = new RTCPeerConnection({
      codecs: {
        video: ['video/H264', 'video/rtx'].map(
          (mimeType) => new RTCRtpCodecParameters({ mimeType, clockRate: 90_000 }),
        ),
      },
      iceServers: [],
      iceUseIpv4: false,
      iceUseIpv6: false,
      iceAdditionalHostAddresses: [...addresses],
      iceInterfaceAddresses: listenAt,
      icePortRange: ports && [...ports],
    });
  }

  /** `prepare`: is given the video before anything of it can come or go. Rejects where there is no port, and where the offer cannot be taken. */
  async open(
    { offer, remoteUfrag, role }: OpenPeer,
    direction: 'sendonly' | 'recvonly',
    prepare: (video: RTCRtpTransceiver) => void,
  ): Promise<LocalEnd> {
    const connection = this.#connection;
    connection.onDataChannel.subscribe((channel) => this.#onChannel(channel));
    await connection.setRemoteDescription({ type: 'offer', sdp: offer });
    const [transceiver] = connection.getTransceivers();
    const [transport] = connection.dtlsTransports;
    if (!transceiver || !transport) throw new Error('the offer has no video');
    transceiver.setDirection(direction);
    transport.role = role === 'active' ? 'client' : 'server';
    transport.onStateChange.subscribe((state) => this.#onTransport(state));
    const { connection: ice } = transport.iceTransport;
    // Without any the library asks one of its own choice, far away, for the address of this machine. Nobody is asked: what is told is what was configured.
    for (const { iceTransport } of connection.dtlsTransports) delete iceTransport.connection.stunServer;
    const { localUsername: localUfrag, localPassword } = ice;
    this.#gate = new Gate({ localUfrag, localPassword, remoteUfrag });
    // Before anything of a new socket is read.
    ice.onIceCandidate.subscribe(() => this.#guard());
    connection.iceConnectionStateChange.subscribe((state) => {
      if (state === 'disconnected' || state === 'failed') this.#end('lost');
      if (state === 'closed') this.#end('closed');
    });
    prepare(transceiver);
    await connection.setLocalDescription(await connection.createAnswer());
    const candidates = ice.localCandidates.map(({ host, port }) => ({ address: host, port }));
    if (candidates.length === 0) throw new Error('no UDP port is free for it');
    const { sender } = transceiver;
    return {
      ufrag: localUfrag,
      password: localPassword,
      fingerprints: transport.localParameters.fingerprints.map(({ algorithm, value }) => `${algorithm} ${value}`),
      role,
      candidates,
      source: sender.ssrc,
      rtxSource: sender.rtxSsrc,
      name: randomUUID(),
    };
  }

  /** Datagrams that were not let in, and messages for channels that were full. */
  get counts(): { readonly strangers: number; readonly messagesDropped: number } {
    return { strangers: this.#gate?.strangers ?? 0, messagesDropped: this.#messagesDropped };
  }

  /** False: there is no such channel. */
  say(label: string, text: string): boolean {
    const channel = this.#channels.get(label);
    if (channel) this.#send(channel, text);
    return channel !== undefined;
  }

  /** What cannot be sent is lost, as any packet may be. */
  sendRtcp(packet: RtcpPacket): void {
    const [transport] = this.#connection.dtlsTransports;
    void transport?.sendRtcp([packet]).catch(() => undefined);
  }

  /** `last`: is said on all channels before. Idempotent. */
  async close(last?: string): Promise<void> {
    this.#isOver = true;
    const { sctpTransport } = this.#connection;
    if (last !== undefined && sctpTransport && this.#channels.size > 0) {
      for (const channel of this.#channels.values()) this.#send(channel, last);
      await acknowledged(sctpTransport);
    }
    // So that the other end notices: the library ends DTLS without a word.
    await sctpTransport?.stop();
    await this.#connection.close();
  }

  #send(channel: RTCDataChannel, text: string): void {
    if (channel.readyState !== 'open' || channel.bufferedAmount + text.length > CHANNEL_BYTES_MAX) {
      this.#messagesDropped++;
      return;
    }
    try {
      channel.send(text);
    } catch {
      this.#messagesDropped++;
    }
  }

  #onChannel(channel: RTCDataChannel): void {
    if (++this.#opened > CHANNELS_MAX) return this.#end('misbehaved');
    const { label } = channel;
    if (!this.#labels.includes(label) || this.#channels.has(label)) return;
    // It is told of before it is open.
    queueMicrotask(() => {
      this.#channels.set(label, channel);
      this.#listener.channel(label);
    });
  }

  #onTransport(state: string): void {
    if (state === 'connected') this.#listener.connected();
    if (state === 'closed') this.#end('closed');
    if (state === 'failed') this.#end('lost');
  }

  /** What comes to its sockets goes by the gate first. */
  #guard(): void {
    for (const { iceTransport } of this.#connection.dtlsTransports) {
      // The library has no other way to see a datagram before it does.
      const { protocols } = iceTransport.connection as unknown as { readonly protocols: readonly GuardedProtocol[] };
      for (const protocol of protocols) {
        if (protocol.isGuarded) continue;
        protocol.isGuarded = true;
        const { transport } = protocol;
        const { onData } = transport;
        transport.onData = (data, from) => {
          if (this.#gate?.admits(data, from[0], from[1])) onData(data, from);
        };
      }
    }
  }

  #end(cause: 'closed' | 'lost' | 'misbehaved'): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener.over(cause);
  }
}

type GuardedProtocol = StunProtocol & { isGuarded?: boolean };

/** Resolves when the other end has acknowledged all that was said on the channels, has closed the connection, or has had the time for it. */
async function acknowledged({ sctp, dtlsTransport }: RTCSctpTransport): Promise<void> {
  // The library has no other way to see what is under way, and replaces these lists.
  const chunks = sctp as unknown as Record<'outboundQueue' | 'sentQueue', readonly unknown[]>;
  const untilMs = performance.now() + LAST_WORDS_MS_MAX;
  do await sleep(ACKNOWLEDGED_POLL_MS);
  while (
    chunks.outboundQueue.length + chunks.sentQueue.length > 0 &&
    dtlsTransport.state === 'connected' &&
    performance.now() < untilMs
  );
}
