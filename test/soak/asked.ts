import { parseText } from '../support/prometheus-text.ts';

export type Figures = ReturnType<typeof parseText>;

/** What the server says of itself over HTTP, to whoever has a key. */
export class Asked {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: string, key: string) {
    this.#url = url;
    this.#headers = { Authorization: `Bearer ${key}` };
  }

  async status(path: string): Promise<number> {
    try {
      const answer = await this.#ask(path);
      await answer.arrayBuffer();
      return answer.status;
    } catch {
      return 0;
    }
  }

  async json<T>(path: string): Promise<T> {
    return (await (await this.#ask(path)).json()) as T;
  }

  async figures(): Promise<Figures> {
    return parseText(await (await this.#ask('/metrics')).text());
  }

  #ask(path: string): Promise<Response> {
    return fetch(this.#url + path, { headers: this.#headers, signal: AbortSignal.timeout(10_000) });
  }
}
