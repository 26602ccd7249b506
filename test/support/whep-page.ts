import { readNumber } from './picture-number.ts';

/** A viewer by WHEP in a page of the server's own origin, and what it saw. */

/** A frame as it was on the screen. */
export interface SeenPicture {
  /** In the picture; undefined: it cannot be read. */
  readonly number: number | undefined;
  readonly stamp: number;
  /** When it was to be on the screen, Unix ms. */
  readonly shownTimeMs: number;
}

export interface SeenName {
  readonly camera: string;
  readonly epoch: number;
  readonly seq: number;
  readonly capture_time: number;
  readonly transcoded: boolean;
  readonly rtp_timestamp: number;
}

/** Cells of `picture-number.ts`: their place in a picture, and in one that has a pixel for each. */
const GRID = { columns: 16, rows: 2, height: 10 };

/** To be evaluated in the page; `window.whep(path)` then opens a session, and `window.seen` has what it showed. */
export const WHEP_SCRIPT = `
  window.seen = { frames: [], names: [], results: [], ends: [], moved: 0 };
  window.whep = async (path) => {
    const connection = (window.connection = new RTCPeerConnection());
    connection.addTransceiver('video', { direction: 'recvonly' });
    for (const label of ['frames', 'results']) {
      connection.createDataChannel(label).onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'frame') seen.names.push(message);
        else if (message.type === 'end') seen.ends.push(message.code);
        else seen.results.push(message);
      };
    }
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true });
    const canvas = new OffscreenCanvas(${GRID.columns}, ${GRID.height});
    const context = canvas.getContext('2d', { willReadFrequently: true });
    document.body.append(video);
    connection.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
    video.requestVideoFrameCallback(function note(nowMs, { rtpTimestamp, mediaTime, expectedDisplayTime }) {
      video.requestVideoFrameCallback(note);
      let picture;
      try {
        picture = new VideoFrame(video);
      } catch {
        // The first one is told of before it can be taken.
        seen.moved++;
        return;
      }
      const { displayWidth: width, displayHeight: height, timestamp } = picture;
      // By then it may have gone on to the next one.
      if (Math.abs(timestamp - 1e6 * mediaTime) > 2) {
        seen.moved++;
        picture.close();
        return;
      }
      context.imageSmoothingEnabled = false;
      context.drawImage(picture, 0, 0, width, height, 0, 0, ${GRID.columns}, ${GRID.height});
      picture.close();
      const { data } = context.getImageData(0, 0, ${GRID.columns}, ${GRID.height});
      const luma = Array.from({ length: ${GRID.columns * GRID.height} }, (_, i) => data[4 * i]);
      seen.frames.push({ luma, stamp: rtpTimestamp, shownTimeMs: Date.now() + Math.max(nowMs, expectedDisplayTime) - performance.now() });
    });
    await connection.setLocalDescription(await connection.createOffer());
    const response = await fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp' },
      body: connection.localDescription.sdp,
    });
    const text = await response.text();
    if (response.status !== 201) return { status: response.status, text };
    await connection.setRemoteDescription({ type: 'answer', sdp: text });
    return { status: 201, location: response.headers.get('Location'), tag: response.headers.get('ETag'), text };
  };
`;

/** Of `window.seen.frames`. */
export function picturesOf(
  frames: readonly { readonly luma: readonly number[]; readonly stamp: number; readonly shownTimeMs: number }[],
): SeenPicture[] {
  return frames.map(({ luma, stamp, shownTimeMs }) => ({
    stamp,
    shownTimeMs,
    number: readNumber({ data: Uint8Array.from(luma), width: GRID.columns, height: GRID.height, pixelBytes: 1 }),
  }));
}
