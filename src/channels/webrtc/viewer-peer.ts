import { randomInt } from 'node:crypto';
import { RtpHeader, RtpPacket, type RTCRtpSender } from 'werift';
import { unitsOfFragment } from '../../media/fmp4.ts';
import { Connection } from './connection.ts';
import { LABELS, type Label, type OpenViewer, type PeerCounts, type PeerNews, type SendFrame } from './messages.ts';
import type { LocalEnd } from './offer.ts';
import { Pacer } from './pacer.ts';
import { payloadsOf } from './packets.ts';

/** One viewer's connection, in the thread for WebRTC. */

/** Of a payload: with all headers it stays below what every network carries (IPv6: 1,280 bytes). */
const PAYLOAD_BYTES_MAX = 1_180;
/** As soon as it is there: shortest and longest wait of a player, 12 bits each, in 10 ms. */
const NO_DELAY = Buffer.of(0, 0, 0);
/** Names that wait for their channel; beyond it the oldest go. */
const NAMES_WAITING_MAX = 512;

export class ViewerPeer {
  readonly id: number;
  readonly #request: OpenViewer;
  readonly #tell: (news: PeerNews) => void;
  readonly #connection: Connection;
  readonly #pacer: Pacer<RtpPacket>;
  readonly #waiting: string[] = [];
  #sender: RTCRtpSender | undefined;
  #sequence = randomInt(2 ** 16);
  #packets = 0;
  #bytes = 0;
  #asked = 0;
  #keysAsked = 0;

  constructor(request: OpenViewer, tell: (news: PeerNews) => void) {
    const { id } = request;
    this.id = id;
    this.#request = request;
    this.#tell = tell;
    this.#pacer = new Pacer((packet) => this.#sendPacket(packet));
    this.#connection = new Connection(request, LABELS, {
      connected: () => tell({ type: 'connected', id }),
      channel: (label) => this.#onChannel(label as Label),
      over: (cause) => tell({ type: 'over', id, cause }),
    });
  }

  /** Rejects where there is no port, and where the offer cannot be taken. */
  open(): Promise<LocalEnd> {
    return this.#connection.open(this.#request, 'sendonly', ({ sender }) => {
      this.#sender = sender;
      sender.onPictureLossIndication.subscribe(() => {
        this.#keysAsked++;
        this.#pacer.clear();
        this.#tell({ type: 'lost_picture', id: this.id });
      });
      sender.onGenericNack.subscribe(({ lost }) => {
        this.#asked += lost.length;
      });
    });
  }

  get counts(): PeerCounts {
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      asked: this.#asked,
      keysAsked: this.#keysAsked,
      dropped: 0,
      ...this.#connection.counts,
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
    this.#connection.say(label, text);
  }

  /** Idempotent. */
  async close(last?: string): Promise<void> {
    this.#pacer.close();
    await this.#connection.close(last);
  }

  #packet(payload: Buffer, timestamp: number, marker: boolean): RtpPacket {
    const id = this.#request.playoutDelayId;
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
    if (this.#connection.say('frames', name)) return;
    this.#waiting.push(name);
    if (this.#waiting.length > NAMES_WAITING_MAX) this.#waiting.shift();
  }

  #onChannel(label: Label): void {
    if (label === 'frames') for (const name of this.#waiting.splice(0)) this.#connection.say(label, name);
    this.#tell({ type: 'channel', id: this.id, label });
  }
}
