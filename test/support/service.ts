import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';

/** A program of Debian's that serves on a port: Prometheus, Alertmanager, Mosquitto. */
export class Service implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  /** `words`: of the command, for its port. Resolves when `readyPath` answers 200; undefined: when it takes connections. */
  static async start(
    program: string,
    words: (port: number) => readonly string[],
    readyPath: string | undefined,
  ): Promise<Service> {
    const port = await freePort();
    const child = spawn(program, words(port), { stdio: ['ignore', 'ignore', 'pipe'] });
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => (err = (err + chunk.toString()).slice(-4_000)));
    const url = `http://127.0.0.1:${port}`;
    const deadlineMs = performance.now() + 30_000;
    while (performance.now() < deadlineMs && child.exitCode === null) {
      const isReady = await (readyPath === undefined ? connects(port) : answers(url + readyPath));
      if (isReady) return new Service(child, url);
      await new Promise((done) => setTimeout(done, 50));
    }
    child.kill('SIGKILL');
    throw new Error(`${program} is not ready:\n${err}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}

function connects(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return once(socket, 'connect')
    .then(
      () => true,
      () => false,
    )
    .finally(() => socket.destroy());
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  await new Promise((done) => probe.close(done));
  return port;
}
