/** The two cameras: a clip that the server offers, and the visitor's webcam. Both play in a hidden `<video>`. */

export type CameraName = 'demo' | 'webcam';

export interface Camera {
  readonly name: CameraName;
  readonly video: HTMLVideoElement;
  close(): void;
}

/** Why a camera is not available, for the visitor. */
export class CameraError extends Error {}

export const DEMO_URL = 'demo/camera.mp4';

/** Does the server offer a demo camera? The answer may take until its clip is made. */
export async function hasDemoCamera(): Promise<boolean> {
  const response = await fetch(DEMO_URL, { method: 'HEAD' });
  return response.ok;
}

export async function openDemoCamera(): Promise<Camera> {
  const video = makeVideo();
  video.loop = true;
  video.src = DEMO_URL;
  try {
    await video.play();
  } catch (cause) {
    throw new CameraError('This browser cannot play the demo clip.', { cause });
  }
  return {
    name: 'demo',
    video,
    close: () => {
      video.pause();
      video.removeAttribute('src');
      video.load();
    },
  };
}

/** `onEnded`: the webcam has ended on its own (unplugged, or its permission taken back). */
export async function openWebcam(onEnded: () => void): Promise<Camera> {
  const stream = await askForWebcam();
  for (const track of stream.getTracks()) track.addEventListener('ended', onEnded, { once: true });
  const video = makeVideo();
  video.srcObject = stream;
  await video.play();
  return {
    name: 'webcam',
    video,
    close: () => {
      for (const track of stream.getTracks()) track.stop();
      video.srcObject = null;
    },
  };
}

function makeVideo(): HTMLVideoElement {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  return video;
}

async function askForWebcam(): Promise<MediaStream> {
  // Absent where the page was loaded over plain HTTP from another machine.
  const { mediaDevices } = navigator as { mediaDevices?: MediaDevices };
  if (!mediaDevices) {
    throw new CameraError('Browsers allow the webcam only to pages from this machine (localhost) or over HTTPS.');
  }
  try {
    return await mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
    });
  } catch (cause) {
    throw new CameraError(webcamProblem((cause as DOMException).name), { cause });
  }
}

function webcamProblem(name: string): string {
  switch (name) {
    case 'NotAllowedError':
      return 'The browser was not allowed to use the webcam. Allow it in the site’s settings, beside the address, and try again.';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No webcam was found on this machine.';
    case 'NotReadableError':
    case 'AbortError':
      return 'The webcam is in use by another program, or did not start.';
    default:
      return `The webcam did not start (${name}).`;
  }
}
