import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  RTCPeerConnection,
  RTCRtpCodecParameters,
  RtpHeader,
  RtpPacket,
  type RTCDataChannel,
  type RTCRtpSender,
  type StunProtocol,
} from 'werift';
import { unitsOfFragment } from '../../media/fmp4.ts';
import { Gate } from './gate.ts';
import { LABELS, type Label, type OpenPeer, type PeerCounts, type PeerNews, type SendFrame } from './messages.ts';
import type { LocalEnd } from './offer.ts';
import { Pacer } from './pacer.ts';
import { payloadsOf } from './packets.ts';

/** One viewer's connection, in the thread for WebRTC. The connection itself (ICE, DTLS, SRTP, SCTP) is werift's. */

/** Of a payload: with all headers it stays below what every network carries (IPv6: 1,280 bytes). */
const PAYLOAD_BYTES_MAX = 1_180;
/** As soon as it is there: shortest and longest wait of a player, 12 bits each, in 10 ms. */
const NO_DELAY = Buffer.of(0, 0, 0);
/** Names that wait for their channel, and bytes that wait in one: beyond it the oldest go, and newer ones. */
const NAMES_WAITING_MAX = 512;
const CHANNEL_BYTES_MAX = 256 * 1024;
/** Channels that a viewer may open; whoever opens more is no viewer. */
const CHANNELS_MAX = 8;
/** For the reason of the end to leave. No pictures go any more. */
const LAST_WORDS_MS = 100;

type Tell = (news: PeerNews) => void;

export class Peer {
  readonly id: number;
  readonly #tell: Tell;
  readonly #playoutDelayId: number | undefined;
  readonly #connection: RTCPeerConnection;
  readonly #pacer: Pacer<RtpPacket>;
  readonly #channels = new Map<Label, RTCDataChannel>();
  readonly #waiting: string[] = [];
  #gate: Gate | undefined;
  #sender: RTCRtpSender | undefined;
  #sequence = randomInt(2 ** 16);
  #opened = 0;
  #packets = 0;
  #bytes = 0;
  #asked = 0;
  #pictureLosses = 0;
  #messagesDropped = 0;
  #isOver = false;

  constructor({ id, playoutDelayId, addresses, listenAt, ports }: OpenPeer, tell: Tell) {
    this.id = id;
    this.#tell = tell;
    this.#playoutDelayId = playoutDelayId;
    this.#pacer = new Pacer((packet) => this.#sendPacket(packet));
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

  /** Rejects where there is no port, and where the offer cannot be taken. */
  async open({ offer, remoteUfrag, role }: OpenPeer): Promise<LocalEnd> {
    const connection = this.#connection;
    connection.onDataChannel.subscribe((channel) => this.#onChannel(channel));
    await connection.setRemoteDescription({ type: 'offer', sdp: offer });
    const [transceiver] = connection.getTransceivers();
    const [transport] = connection.dtlsTransports;
    if (!transceiver || !transport) throw new Error('the offer has no video');
    transceiver.setDirection('sendonly');
    this.#sender = transceiver.sender;
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
    const { sender } = transceiver;
    sender.onPictureLossIndication.subscribe(() => {
      this.#pictureLosses++;
      this.#pacer.clear();
      this.#tell({ type: 'lost_picture', id: this.id });
    });
    sender.onGenericNack.subscribe(({ lost }) => {
      this.#asked += lost.length;
    });
    await connection.setLocalDescription(await connection.createAnswer());
    const candidates = ice.localCandidates.map(({ host, port }) => ({ address: host, port }));
    if (candidates.length === 0) throw new Error('no UDP port is free for it');
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

  get counts(): PeerCounts {
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      asked: this.#asked,
      pictureLosses: this.#pictureLosses,
      strangers: this.#gate?.strangers ?? 0,
      messagesDropped: this.#messagesDropped,
    };
  }

  frame({ stamp, bytes, sets, name }: SendFrame): void {
    // Whoever sees the frame has its name.
    this.#sayName(name);
    const payloads = payloadsOf([...sets, ...unitsOfFragment(bytes)], PAYLOAD_BYTES_MAX);
    const last = payloads.length - 1;
    const packets = payloads.map((payload, i) => this.#packet(payload, stamp, i === last));
    this.#pacer.push(packets, () => this.#tell({ type: 'sent', id: this.id, bytes: bytes.length }));
  }

  text(label: Label, text: string): void {
    const channel = this.#channels.get(label);
    if (channel) this.#say(channel, text);
  }

  /** Idempotent. */
  async close(last?: string): Promise<void> {
    this.#isOver = true;
    this.#pacer.close();
    if (last !== undefined && this.#channels.size > 0) {
      for (const channel of this.#channels.values()) this.#say(channel, last);
      await sleep(LAST_WORDS_MS);
    }
    // So that the viewer notices: the library ends DTLS without a word.
    await this.#connection.sctpTransport?.stop();
    await this.#connection.close();
  }

  #packet(payload: Buffer, timestamp: number, marker: boolean): RtpPacket {
    const id = this.#playoutDelayId;
    const extensions = id === undefined ? [] : [{ id, payload: NO_DELAY }];
    return new RtpPacket(new RtpHeader({ timestamp, marker, extensions }), payload);
  }

  #sendPacket(packet: RtpPacket): void {
    // Not before: what is given up leaves no gap that the viewer would ask for.
    this.#sequence = (this.#sequence + 1) & 0xffff;
    packet.header.sequenceNumber = this.#sequence;
    this.#packets++;
    this.#bytes += packet.payload.length;
    void this.#sender?.sendRtp(packet);
  }

  #sayName(name: string): void {
    const channel = this.#channels.get('frames');
    if (channel) return this.#say(channel, name);
    this.#waiting.push(name);
    if (this.#waiting.length > NAMES_WAITING_MAX) this.#waiting.shift();
  }

  #say(channel: RTCDataChannel, text: string): void {
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
    const label = LABELS.find((known) => known === channel.label);
    if (label === undefined || this.#channels.has(label)) return;
    // It is told of before it is open.
    queueMicrotask(() => {
      this.#channels.set(label, channel);
      if (label === 'frames') for (const name of this.#waiting.splice(0)) this.#say(channel, name);
      this.#tell({ type: 'channel', id: this.id, label });
    });
  }

  #onTransport(state: string): void {
    if (state === 'connected') this.#tell({ type: 'connected', id: this.id });
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
    this.#tell({ type: 'over', id: this.id, cause });
  }
}

type GuardedProtocol = StunProtocol & { isGuarded?: boolean };
