import { execFile, execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TIMEOUT_MS = 5_000;

/** Of the token bucket: a few packets, so that frames are spread at the rate instead of jumping through. */
const BURST = '4kb';
/** In bytes of time: what is longer stays in the sender's socket. */
const QUEUE = '300ms';

/** What has to be taken away again. */
const made = new Set<readonly string[]>();
// The last resort, such as a second Ctrl+C.
process.on('exit', () => {
  for (const words of [...made].toReversed()) {
    try {
      execFileSync('ip', words, { timeout: TIMEOUT_MS, stdio: 'ignore' });
    } catch {
      // There is nobody left to tell.
    }
  }
});

/**
 * A network namespace for a client, joined to the machine by a pair of virtual Ethernet interfaces. What it sends is shaped by
 * the kernel (`tc … tbf`). Nothing outside of it is changed; it is gone when it is disposed of, and in any case with this process.
 */
export class Namespace implements AsyncDisposable {
  /** Of the machine, as seen from inside. */
  readonly hostAddress: string;
  readonly #name: string;
  readonly #inside: string;
  readonly #undo: (readonly string[])[] = [];

  private constructor(name: string, inside: string, hostAddress: string) {
    this.#name = name;
    this.#inside = inside;
    this.hostAddress = hostAddress;
  }

  /** Or why there can be none here: not root, no `ip` or `tc`, a kernel without them. */
  static async make(bps: number): Promise<Namespace | string> {
    if (process.getuid?.() !== 0) return 'they need root';
    const id = `${process.pid.toString(36)}${randomInt(36 ** 3).toString(36)}`;
    const name = `sl-${id}`;
    const outside = `slo${id}`;
    const inside = `sli${id}`;
    // 198.18.0.0/15 is for benchmarks (RFC 2544): nobody lives there.
    const subnet = `198.18.${randomInt(256)}.${4 * randomInt(64)}`;
    const [hostAddress, address] = [1, 2].map((host) => subnet.replace(/\d+$/, (last) => String(Number(last) + host)));
    const namespace = new Namespace(name, inside, hostAddress!);
    try {
      await ip('netns', 'add', name);
      namespace.#remember('netns', 'del', name);
      await ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', name);
      namespace.#remember('link', 'del', outside);
      await ip('addr', 'add', `${hostAddress}/30`, 'dev', outside);
      await ip('link', 'set', outside, 'up');
      await ip('-n', name, 'addr', 'add', `${address}/30`, 'dev', inside);
      await ip('-n', name, 'link', 'set', inside, 'up');
      await namespace.#shape('add', bps);
      return namespace;
    } catch (thrown) {
      await namespace[Symbol.asyncDispose]();
      const { stderr, message } = thrown as Error & { stderr?: string };
      return (stderr || message).trim().split('\n').at(-1)!;
    }
  }

  /** A command line that runs a program inside. */
  command(program: string, ...args: readonly string[]): { readonly command: string; readonly args: string[] } {
    return { command: 'ip', args: ['netns', 'exec', this.#name, program, ...args] };
  }

  /** What comes out of it from now on, bits a second. */
  async shape(bps: number): Promise<void> {
    await this.#shape('change', bps);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let words = this.#undo.pop(); words; words = this.#undo.pop()) {
      await ip(...words);
      made.delete(words);
    }
  }

  #remember(...words: readonly string[]): void {
    this.#undo.push(words);
    made.add(words);
  }

  async #shape(verb: 'add' | 'change', bps: number): Promise<void> {
    const rate = ['rate', `${Math.round(bps)}bit`, 'burst', BURST, 'latency', QUEUE];
    const tc = this.command('tc', 'qdisc', verb, 'dev', this.#inside, 'root', 'tbf', ...rate);
    await run(tc.command, tc.args, { timeout: TIMEOUT_MS });
  }
}

async function ip(...args: readonly string[]): Promise<void> {
  await run('ip', [...args], { timeout: TIMEOUT_MS });
}
