import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { Service } from './service.ts';

/** What Alertmanager tells its receiver of one alert. */
export interface ReceivedAlert {
  readonly status: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Debian's Alertmanager, and the receiver that it tells of every alert at once. */
export class AlertmanagerService implements AsyncDisposable {
  /** In the order in which they came. */
  readonly received: ReceivedAlert[] = [];
  readonly #receiver: Server;
  #service: Service | undefined;

  private constructor() {
    this.#receiver = createServer(async (request, response) => {
      this.received.push(...((await json(request)) as { alerts: ReceivedAlert[] }).alerts);
      response.end();
    });
  }

  /** `program`: its path; `folder`: for its configuration and its data. */
  static async start(program: string, folder: string): Promise<AlertmanagerService> {
    const started = new AlertmanagerService();
    const receiver = started.#receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
    const config = {
      route: { receiver: 'hook', group_wait: '0s', group_interval: '1s' },
      receivers: [{ name: 'hook', webhook_configs: [{ url }] }],
    };
    const file = join(folder, 'alertmanager.json');
    writeFileSync(file, JSON.stringify(config));
    const words = (port: number): string[] => [
      `--config.file=${file}`,
      `--storage.path=${join(folder, 'alertmanager')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--cluster.listen-address=',
    ];
    try {
      started.#service = await Service.start(program, words, '/-/ready');
    } catch (thrown) {
      started.#closeReceiver();
      throw thrown;
    }
    return started;
  }

  get url(): string {
    return this.#service!.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    this.#closeReceiver();
  }

  #closeReceiver(): void {
    this.#receiver.closeAllConnections();
    this.#receiver.close();
  }
}
