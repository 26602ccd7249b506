import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import { CamerasLane } from '../../src/sessions/cameras/lane.ts';
import { Hub } from '../../src/stream/hub.ts';
import { ANYONE } from './access.ts';
import type { NumberedVideo } from './numbered-video.ts';
import { ScriptedCameras, type ScriptedCamera } from './scripted-feeds.ts';

/** The cameras' lane on a port of its own, by the platform's clock, with cameras that play at its pace. `files`: what else it serves, by path. */
export class CamerasBench {
  readonly hub = new Hub({ clock: systemClock, streamsMax: 1_000 });
  readonly cameras: ScriptedCameras;
  readonly lane: CamerasLane;
  /** Whoever connects from now on. */
  principal = ANYONE;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(video: NumberedVideo, files: ReadonlyMap<string, string>) {
    this.cameras = new ScriptedCameras({ hub: this.hub, clock: systemClock, video, capacity: 300 });
    this.lane = new CamerasLane({
      feeds: this.cameras,
      clock: systemClock,
      settings: {
        messageBytesMax: 65_536,
        viewsMax: 100,
        sendBufferBytesMax: 1 << 20,
        flightMsMax: 500,
        idleTimeoutMs: 300_000,
        pingIntervalMs: 20_000,
        pongTimeoutMs: 10_000,
        sessionsMax: 10,
      },
    });
    this.#server = createServer((request, response) => {
      const file = files.get(request.url!);
      const type = request.url!.endsWith('.js') ? 'text/javascript' : 'text/html';
      response.writeHead(file === undefined ? 404 : 200, { 'content-type': type });
      response.end(file);
    });
    this.#server.on('upgrade', (request, socket, head) => {
      this.#sockets.handleUpgrade(request, socket, head, (opened) => {
        const query = new URL(request.url!, 'http://x').searchParams;
        void this.lane.open(opened, { query, address: undefined, principal: this.principal });
      });
    });
  }

  static async open(video: NumberedVideo, files: ReadonlyMap<string, string> = new Map()): Promise<CamerasBench> {
    const bench = new CamerasBench(video, files);
    bench.#server.listen(0, '127.0.0.1');
    await once(bench.#server, 'listening');
    return bench;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** From now on the camera sends a frame whenever one is due. `onFrame`: after each. Gives what ends that. */
  run(camera: ScriptedCamera, rateFps: number, onFrame: (seq: number) => void = () => {}): () => void {
    const beginMs = systemClock.now();
    let sent = 0;
    const timer = setInterval(() => {
      for (; systemClock.now() - beginMs >= (sent * 1000) / rateFps; sent++) {
        const { seq } = camera.next;
        camera.play(1, 1 / rateFps);
        onFrame(seq);
      }
    }, 2);
    this.#timers.add(timer);
    return () => clearInterval(timer);
  }

  /** All connections are lost; clients may come back. */
  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.lane.close();
    this.cut();
    this.#sockets.close();
    this.#server.close();
    this.#server.closeAllConnections();
    this.hub.close();
  }
}
