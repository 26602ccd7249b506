/** This browser's own camera, published to the server by WHIP (RFC 9725). */

export type PublisherState = 'idle' | 'asking' | 'connecting' | 'publishing';

export interface PublisherHost {
  /** After each change. */
  onChange(): void;
}

const WISH: MediaStreamConstraints = {
  audio: false,
  video: {
    facingMode: { ideal: 'environment' },
    width: { ideal: 1280 },
    height: { ideal: 720 },
    frameRate: { ideal: 25, max: 30 },
  },
};
const BITS_PER_S_MAX = 2_500_000;

interface Session {
  readonly media: MediaStream;
  readonly connection: RTCPeerConnection;
  /** Where it is ended; undefined: not open yet. */
  location: string | undefined;
}

export class Publisher {
  readonly #camera: string;
  readonly #host: PublisherHost;
  #state: PublisherState = 'idle';
  #session: Session | undefined;
  #fault: string | undefined;

  constructor(camera: string, host: PublisherHost) {
    this.#camera = camera;
    this.#host = host;
  }

  get state(): PublisherState {
    return this.#state;
  }

  /** Why the last try has failed, or the last session has ended; undefined: by this page, or there was none. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** What the camera of this device shows, while it is published. */
  get media(): MediaStream | undefined {
    return this.#session?.media;
  }

  /** Asks for the camera, and publishes it. */
  async start(): Promise<void> {
    if (this.#state !== 'idle') return;
    this.#fault = undefined;
    this.#become('asking');
    let media: MediaStream;
    try {
      media = await cameraOfDevice();
    } catch (thrown) {
      return this.#end(mediaFault(thrown));
    }
    // It was stopped meanwhile.
    if (this.state !== 'asking') return stopAll(media);
    const session: Session = { media, connection: new RTCPeerConnection(), location: undefined };
    this.#session = session;
    this.#become('connecting');
    try {
      await this.#connect(session);
    } catch (thrown) {
      if (this.#session === session) this.#end((thrown as Error).message);
    }
  }

  /** Idempotent. */
  stop(): void {
    if (this.#state !== 'idle') this.#end(undefined);
  }

  async #connect(session: Session): Promise<void> {
    const { media, connection } = session;
    const [track] = media.getVideoTracks();
    const transceiver = connection.addTransceiver(track!, { direction: 'sendonly', streams: [media] });
    preferH264(transceiver);
    track!.addEventListener('ended', () => this.#lost(session, 'The camera of this device is gone.'));
    connection.createDataChannel('end').addEventListener('message', ({ data }) => {
      const { message } = JSON.parse(String(data)) as { readonly message: string };
      this.#lost(session, `The server has ended it: ${message}.`);
    });
    connection.addEventListener('connectionstatechange', () => this.#onConnection(session));
    await connection.setLocalDescription(await connection.createOffer());
    const { answer, location } = await postOffer(`whip/${this.#camera}`, connection.localDescription!.sdp);
    session.location = location;
    // The server has opened it: it is to hear of the end as well.
    if (this.#session !== session) return endSession(session);
    await connection.setRemoteDescription({ type: 'answer', sdp: answer });
    await limit(transceiver.sender);
  }

  #onConnection(session: Session): void {
    const { connectionState } = session.connection;
    if (this.#session !== session) return;
    if (connectionState === 'connected') this.#become('publishing');
    if (connectionState === 'failed' || connectionState === 'closed') {
      const text =
        this.#state === 'publishing'
          ? 'The connection was lost.'
          : 'No connection came about: does UDP get through to the server?';
      this.#lost(session, text);
    }
  }

  #lost(session: Session, fault: string): void {
    if (this.#session === session) this.#end(fault);
  }

  #end(fault: string | undefined): void {
    const session = this.#session;
    this.#session = undefined;
    this.#fault = fault;
    if (session) endSession(session);
    this.#become('idle');
  }

  #become(state: PublisherState): void {
    this.#state = state;
    this.#host.onChange();
  }
}

async function cameraOfDevice(): Promise<MediaStream> {
  // There is none in a page that came neither by TLS nor from this machine.
  const { mediaDevices } = navigator as { readonly mediaDevices?: MediaDevices };
  if (!mediaDevices) throw new DOMException('', 'InsecurePageError');
  return await mediaDevices.getUserMedia(WISH);
}

/** In plain words, by the name of what `getUserMedia` has thrown. */
export function mediaFault(thrown: unknown): string {
  const { name, message } = thrown as DOMException;
  switch (name) {
    case 'InsecurePageError':
      return 'Browsers give their camera to no page that came without TLS: start the server with --tls auto, and open it by https.';
    case 'NotAllowedError':
      return 'The browser was not allowed to use the camera. Allow it for this page, and try again.';
    case 'NotFoundError':
      return 'This device has no camera.';
    case 'NotReadableError':
      return 'The camera cannot be opened: another program may use it.';
    default:
      return `The camera cannot be opened: ${message || name}.`;
  }
}

/** Nothing else is taken by the server. Throws where the browser has none. */
function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const fit = codecs.filter(({ mimeType }) => /^video\/(h264|rtx)$/i.test(mimeType));
  if (!fit.some(({ mimeType }) => mimeType.toLowerCase() === 'video/h264')) {
    throw new Error('This browser cannot send H.264.');
  }
  transceiver.setCodecPreferences(fit);
}

/** Its pictures keep their size: a smaller one is another stream to whoever watches. */
async function limit(sender: RTCRtpSender): Promise<void> {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) encoding.maxBitrate = BITS_PER_S_MAX;
  Object.assign(parameters, { degradationPreference: 'maintain-resolution' });
  // Browsers differ in what they let set.
  await sender.setParameters(parameters).catch(() => undefined);
}

/** Throws with the server's words. */
async function postOffer(path: string, sdp: string): Promise<{ readonly answer: string; readonly location: string }> {
  const request = { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: sdp };
  const response = await fetch(path, request).catch(() => undefined);
  if (!response) throw new Error('The server does not answer.');
  const text = await response.text();
  if (response.status === 201) return { answer: text, location: response.headers.get('Location')! };
  throw new Error(faultOf(text) ?? `The server answers with status ${response.status}.`);
}

function faultOf(text: string): string | undefined {
  try {
    const { message } = (JSON.parse(text) as { readonly error: { readonly message: string } }).error;
    return `The server refuses it: ${message}.`;
  } catch {
    return undefined;
  }
}

function endSession({ media, connection, location }: Session): void {
  stopAll(media);
  connection.close();
  // Also while the page goes.
  if (location !== undefined) void fetch(location, { method: 'DELETE', keepalive: true }).catch(() => undefined);
}

function stopAll(media: MediaStream): void {
  for (const track of media.getTracks()) track.stop();
}
