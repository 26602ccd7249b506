import {
  GenericNack,
  PictureLossIndication,
  RtcpPayloadSpecificFeedback,
  RtcpSrPacket,
  RtcpTransportLayerFeedback,
  type MediaStreamTrack,
  type RTCRtpReceiver,
  type RtpPacket,
} from 'werift';
import { forInlet, rtpForInlet } from '../../sources/camera/inlet-packets.ts';
import { CameraInlet } from './camera-inlet.ts';
import { Connection } from './connection.ts';
import { PUBLISHER_LABELS, type OpenPublisher, type PeerCounts, type PeerNews } from './messages.ts';
import { MissingPackets } from './missing-packets.ts';
import type { LocalEnd } from './offer.ts';

/** How often it is looked whether packets are missing. */
const LOOK_INTERVAL_MS = 10;

/** One publisher's connection, in the thread for WebRTC: what comes goes on to the process of its camera, packet by packet. */
export class PublisherPeer {
  readonly id: number;
  readonly #request: OpenPublisher;
  readonly #connection: Connection;
  readonly #inlet: CameraInlet;
  readonly #missing = new MissingPackets();
  readonly #look: NodeJS.Timeout;
  #source: { readonly own: number; readonly media: number } | undefined;
  #packets = 0;
  #bytes = 0;
  #asked = 0;
  #keysAsked = 0;

  constructor(request: OpenPublisher, tell: (news: PeerNews) => void) {
    const { id, inlet } = request;
    this.id = id;
    this.#request = request;
    this.#inlet = new CameraInlet(inlet, () => this.#askForKey());
    this.#connection = new Connection(request, PUBLISHER_LABELS, {
      connected: () => {
        this.#inlet.open();
        tell({ type: 'connected', id });
      },
      channel: () => undefined,
      over: (cause) => tell({ type: 'over', id, cause }),
    });
    this.#look = setInterval(() => this.#askAgain(), LOOK_INTERVAL_MS);
  }

  /** Rejects where there is no port, and where the offer cannot be taken. */
  open(): Promise<LocalEnd> {
    return this.#connection.open(this.#request, 'recvonly', ({ receiver }) => this.#follow(receiver));
  }

  get counts(): PeerCounts {
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      asked: this.#asked,
      keysAsked: this.#keysAsked,
      dropped: this.#inlet.dropped,
      ...this.#connection.counts,
    };
  }

  /** Idempotent. */
  async close(last?: string): Promise<void> {
    clearInterval(this.#look);
    this.#inlet.close();
    await this.#connection.close(last);
  }

  #follow({ tracks, rtcpSsrc: own }: RTCRtpReceiver): void {
    const track: MediaStreamTrack | undefined = tracks[0];
    if (track?.ssrc === undefined) throw new Error('the offer names no source of its video');
    this.#source = { own, media: track.ssrc };
    track.onReceiveRtp.subscribe((packet) => this.#take(packet));
    track.onReceiveRtcp.subscribe((packet) => {
      // Whose clock frames are from says that of the sender.
      if (packet instanceof RtcpSrPacket) this.#inlet.report(forInlet(packet.serialize()));
    });
  }

  #take({ header, payload }: RtpPacket): void {
    const { sequenceNumber: sequence, timestamp: stamp, marker: isMarked } = header;
    this.#packets++;
    this.#bytes += payload.length;
    this.#missing.see(sequence, performance.now());
    this.#inlet.send(rtpForInlet({ sequence, stamp, isMarked, payload }));
  }

  #askAgain(): void {
    if (this.#missing.size === 0 || !this.#source) return;
    const lost = this.#missing.due(performance.now());
    if (lost.length === 0) return;
    this.#asked += lost.length;
    const { own: senderSsrc, media: mediaSourceSsrc } = this.#source;
    const feedback = new GenericNack({ senderSsrc, mediaSourceSsrc, lost });
    this.#connection.sendRtcp(new RtcpTransportLayerFeedback({ feedback }));
  }

  /** Its camera's process says when. */
  #askForKey(): void {
    if (!this.#source) return;
    this.#keysAsked++;
    const { own: senderSsrc, media: mediaSsrc } = this.#source;
    const feedback = new PictureLossIndication({ senderSsrc, mediaSsrc });
    this.#connection.sendRtcp(new RtcpPayloadSpecificFeedback({ feedback }));
  }
}
