import { wallTimeMs, systemClock } from '../../src/base/clock.ts';
import { numberedClip, type CodedClip } from '../../test/support/coded-clip.ts';
import type { RtspCamera } from '../../test/support/rtsp/camera.ts';
import type { RtspServer } from '../../test/support/rtsp-server.ts';
import type { SentPicture } from './identity-log.ts';

/** Cameras whose pictures carry numbers, and what they have sent. */

export interface NumberedSet {
  readonly count: number;
  readonly width: number;
  readonly height: number;
  readonly rateFps: number;
  /** A clip begins anew after so many. */
  readonly frames: number;
  readonly keyEvery: number;
  /** Of every second camera; the others have none. */
  readonly bFrames: number;
  /** How old pictures are when they are sent. With B-frames: as old at least as those that are shown later than others that follow them, since no server believes that they are of the future. */
  readonly ageMs: number;
}

/** Clips of each camera: it goes on with the next one whenever its rate changes. No picture of any clip has the number of another one. */
const CLIPS = 2;
/** Pictures of one camera that are remembered, the newest ones. */
const SENT_MAX = 100_000;

interface NumberedClip {
  readonly clip: CodedClip;
  readonly firstNumber: number;
}

interface NumberedCamera {
  readonly camera: RtspCamera;
  readonly clips: readonly NumberedClip[];
  /** Of its clips, over and over. */
  playing: number;
  sent: SentPicture[];
}

export class NumberedCameras {
  readonly #server: RtspServer;
  readonly #cameras = new Map<string, NumberedCamera>();
  #nextNumber = 0;

  constructor(server: RtspServer) {
    this.#server = server;
  }

  /** Returns their names. */
  async add({ count, rateFps, bFrames, ageMs, ...size }: NumberedSet): Promise<string[]> {
    const names: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const clips: NumberedClip[] = [];
      for (let c = 0; c < CLIPS; c += 1) {
        const firstNumber = this.#nextNumber;
        clips.push({ firstNumber, clip: await numberedClip({ ...size, firstNumber, bFrames: (i % 2) * bFrames }) });
        this.#nextNumber += size.frames;
      }
      names.push(this.#add(clips, rateFps, ageMs));
    }
    return names;
  }

  #add(clips: readonly NumberedClip[], rateFps: number, ageMs: number): string {
    const name = `n${this.#cameras.size}`;
    const camera = this.#server.add(name, { clip: clips[0]!.clip, rateFps });
    camera.ntpOffsetMs = -ageMs;
    const one: NumberedCamera = { camera, clips, playing: 0, sent: [] };
    camera.onFrame = ({ number, captureTimeMs, timeMs }) => {
      one.sent.push({
        number: one.clips[one.playing]!.firstNumber + number,
        captureTimeMs: captureTimeMs!,
        sentTimeMs: wallTimeMs(systemClock, timeMs),
      });
      if (one.sent.length >= 2 * SENT_MAX) one.sent = one.sent.slice(-SENT_MAX);
    };
    this.#cameras.set(name, one);
    return name;
  }

  /** From the next frame on, which is the first one of another clip. Only of cameras without B-frames: those that were left out would come twice. */
  change(name: string, rateFps: number): void {
    const one = this.#cameras.get(name)!;
    one.playing = (one.playing + 1) % CLIPS;
    one.camera.change(one.clips[one.playing]!.clip, rateFps);
  }

  /** All that is remembered, in the order of sending. */
  sent(name: string): readonly SentPicture[] {
    return this.#cameras.get(name)!.sent;
  }
}
