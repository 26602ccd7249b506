import type { Random } from '../../../src/base/random.ts';
import { INTERLEAVED_BYTES, RTP_HEADER_BYTES, senderReport, stampedPackets } from './packets.ts';
import type { FramePackets } from './packets.ts';

/** How packets reach a client. Both take them with their interleaved headers. */
export interface PlayerLink {
  /** Takes more at this moment. */
  readonly hasRoom: boolean;
  /** `starts`: where each packet's interleaved header begins. */
  send(bytes: Buffer, starts: readonly number[]): void;
  sendReport(report: Buffer): void;
  readonly channel: number;
}

export interface SentFrame {
  readonly packets: FramePackets;
  readonly isKey: boolean;
  readonly timestamp: number;
  readonly payloadType: number;
  readonly hasMarker: boolean;
  /** Of the wall clock, for the sender report; null: none is sent. */
  readonly ntpMs: number | null;
  /** Share of packets whose data are overwritten, 0 to 1. */
  readonly damageShare: number;
}

/** One client to whom a camera plays. */
export class RtspPlayer {
  readonly #link: PlayerLink;
  readonly #random: Random;
  readonly ssrc: number;
  #sequence: number;
  #packets = 0;
  #octets = 0;
  #reportDueMs = -Infinity;
  #isWaitingForKey = false;

  constructor(link: PlayerLink, random: Random) {
    this.#link = link;
    this.#random = random;
    this.ssrc = Math.floor(random() * 2 ** 32);
    this.#sequence = Math.floor(random() * 2 ** 16);
  }

  /** Of its next packet. */
  get sequence(): number {
    return this.#sequence;
  }

  /** False: the client is too slow, and this frame is left out, as are those behind it up to a key frame. */
  send(frame: SentFrame, nowMs: number, reportEveryMs: number): boolean {
    const { packets, timestamp, ntpMs } = frame;
    const { channel } = this.#link;
    if (!this.#link.hasRoom || (this.#isWaitingForKey && !frame.isKey)) {
      this.#isWaitingForKey = true;
      return false;
    }
    this.#isWaitingForKey = false;
    if (ntpMs !== null && nowMs >= this.#reportDueMs) {
      this.#reportDueMs = nowMs + reportEveryMs;
      const counts = { packets: this.#packets, octets: this.#octets };
      this.#link.sendReport(senderReport({ channel: channel + 1, ssrc: this.ssrc, ntpMs, timestamp, ...counts }));
    }
    const { payloadType, hasMarker } = frame;
    const fields = { channel, sequence: this.#sequence, timestamp, ssrc: this.ssrc, payloadType, hasMarker };
    const bytes = stampedPackets(packets, fields);
    if (frame.damageShare > 0) this.#damage(bytes, packets.starts, frame.damageShare);
    this.#link.send(bytes, packets.starts);
    const count = packets.starts.length;
    this.#sequence = (this.#sequence + count) & 0xffff;
    this.#packets += count;
    this.#octets += bytes.length - count * (INTERLEAVED_BYTES + RTP_HEADER_BYTES);
    return true;
  }

  #damage(bytes: Buffer, starts: readonly number[], share: number): void {
    for (const [index, start] of starts.entries()) {
      if (this.#random() >= share) continue;
      const end = starts[index + 1] ?? bytes.length;
      // The kind of the unit stays, so that the damage is found by the decoder.
      for (let at = start + INTERLEAVED_BYTES + RTP_HEADER_BYTES + 4; at < end; at += 1)
        bytes[at] = this.#random() * 256;
    }
  }
}
