import { spawnSync } from 'node:child_process';
import { programPath } from './programs.ts';

/** Two machines, as far as a network can tell: two of Linux's network namespaces, and one line between them. */

const PREFIX = 'sightline-test';
/** Of a network that is nowhere else: both ends see this line and their own loopback alone. */
const NETWORK = '10.213.77';
const IP = programPath('ip');

/** Why there are none on this machine; undefined: there are. */
export function noNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'they are a thing of Linux';
  if (IP === undefined) return 'install iproute2';
  if (process.getuid?.() !== 0) return 'only root may make them';
  const probe = nameOf('probe');
  const { status, stderr } = spawnSync(IP, ['netns', 'add', probe]);
  if (status !== 0) return `root may make none here: ${String(stderr).trim()}`;
  ip('netns', 'del', probe);
  return undefined;
}

export class Namespace {
  readonly name: string;
  readonly address: string;

  constructor(name: string, address: string) {
    this.name = name;
    this.address = address;
  }

  /** Before a program and its words: it runs here. The process is that of the program, so that signals reach it. */
  get within(): readonly string[] {
    return [IP!, 'netns', 'exec', this.name];
  }
}

/** Whoever opens it removes it; should it not come to that, the end of the process does, or the next one that opens any. */
export class NamespacePair implements Disposable {
  readonly server = new Namespace(nameOf('server'), `${NETWORK}.1`);
  readonly client = new Namespace(nameOf('client'), `${NETWORK}.2`);
  readonly #remove = (): void => {
    for (const { name } of [this.server, this.client]) spawnSync(IP!, ['netns', 'del', name]);
  };

  constructor() {
    removeThoseOfTheDead();
    process.once('exit', this.#remove);
    const ends = [this.server, this.client] as const;
    for (const { name } of ends) ip('netns', 'add', name);
    const [one, other] = ends;
    ip('link', 'add', 'line', 'netns', one.name, 'type', 'veth', 'peer', 'name', 'line', 'netns', other.name);
    for (const { name, address } of ends) {
      ip('-n', name, 'address', 'add', `${address}/30`, 'dev', 'line');
      for (const device of ['lo', 'line']) ip('-n', name, 'link', 'set', device, 'up');
    }
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#remove);
    this.#remove();
  }
}

function nameOf(role: string): string {
  return `${PREFIX}-${process.pid}-${role}`;
}

/** Of test runs that were killed. */
function removeThoseOfTheDead(): void {
  for (const [name, pid] of ip('netns', 'list').matchAll(new RegExp(`^${PREFIX}-(\\d+)-\\w+`, 'gm'))) {
    try {
      process.kill(Number(pid), 0);
    } catch {
      spawnSync(IP!, ['netns', 'del', name]);
    }
  }
}

function ip(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(IP!, words);
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${String(stderr).trim()}`);
  return String(stdout);
}
