import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Random } from '../../src/base/random.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { parseGrant } from '../../src/auth/grants.ts';
import { makeKey } from '../../src/auth/keys.ts';
import type { TestAuthority } from '../support/certificates.ts';
import type { Cutter } from './cutter.ts';

/** What happens to the server, one thing after the other. */

/** A figure of `/metrics`, of one label where it has several, and how much it rises at least. */
export interface Rise {
  readonly figure: string;
  readonly label?: string;
  readonly by?: number;
}

export interface Fault {
  readonly name: string;
  /** Makes it happen, and ends it; resolves when it is over. */
  make(): Promise<void>;
  /** These rise with it. */
  readonly shows: readonly Rise[];
}

export interface World {
  readonly url: string;
  readonly pid: number;
  readonly random: Random;
  readonly authority: TestAuthority;
  readonly adminKey: string;
  readonly cutter: Cutter;
  /** Those of the shaken streams, which go through the cutter. */
  readonly connections: number;
  readonly files: Readonly<Record<'config' | 'keys' | 'certificate' | 'key' | 'clock', string>>;
  /** A small file system of its own that the server records to; undefined: this machine allows none. */
  readonly disk: string | undefined;
  /** The wall clock of the server can be set by the file `clock`. */
  readonly hasClock: boolean;
  /** The shaken streams use it from their next connection on. */
  readonly useKey: (key: string) => Promise<void>;
}

const YEARS = ['+3650d', '-3650d', '+400d', '-2h'];
/** The library reads the file once a second. */
const CLOCK_SET_MS = 3_000;
const DISK_FULL_MS = 3_000;
const GARBAGE_BYTES = 64 * 1024;
const GARBAGE_SOCKETS = 10;

export function faultsOf(world: World): Fault[] {
  return [
    killWorker(world),
    ...(world.disk === undefined ? [] : [fillDisk(world.disk)]),
    dropClients(world),
    sendGarbage(world),
    reload(world),
    reloadBadly(world),
    rotateKeys(world),
    rotateCertificate(world),
    breakCertificate(world),
    ...(world.hasClock ? [setClock(world)] : []),
  ];
}

/** Replaces a file whole, as careful programs do. */
export function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function configText(world: Pick<World, 'files'>, maxFps: number): string {
  const { keys, certificate, key } = world.files;
  return `
server:
  tls: { cert_file: ${certificate}, key_file: ${key} }
auth: { keys_file: ${keys} }
store: { mode: memory }
log: { level: info, format: json }
streaming: { max_fps: ${maxFps} }
`;
}

/** Adds a key that may do everything; the server takes it up within a second. */
export async function addKey(file: string, name: string): Promise<string> {
  const { key, text } = makeKey({ name, grants: [parseGrant('admin')], createdMs: Date.now() });
  await changeKeys(file, (ring) => ({ ...ring, keys: [...ring.keys, key] }));
  return text;
}

function killWorker({ pid }: World): Fault {
  return {
    name: 'kill_worker',
    make: async () => void process.kill(pid, 'SIGPWR'),
    shows: [{ figure: 'sightline_engine_worker_restarts_total' }],
  };
}

function fillDisk(disk: string): Fault {
  const filler = `${disk}/filler`;
  return {
    name: 'fill_disk',
    make: async () => {
      const chunk = Buffer.alloc(1024 * 1024);
      const file = openSync(filler, 'w');
      try {
        // The last bytes, too.
        for (const bytes of [chunk.length, 4_096, 1]) writeAll(file, chunk.subarray(0, bytes));
      } finally {
        closeSync(file);
      }
      await sleep(DISK_FULL_MS);
      rmSync(filler);
    },
    shows: [{ figure: 'sightline_recording_interruptions' }],
  };
}

function writeAll(file: number, chunk: Uint8Array): void {
  try {
    for (;;) writeSync(file, chunk);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
  }
}

function dropClients({ cutter, connections }: World): Fault {
  return {
    name: 'drop_clients',
    make: async () => {
      const cut = cutter.cut();
      if (cut !== connections) throw new Error(`${cut} connections were there to be cut, not ${connections}`);
    },
    // All of them come back.
    shows: [{ figure: 'sightline_connections_opened_total', by: connections }],
  };
}

/** On every lane, with and without a key, and below HTTP. */
function sendGarbage({ url, random, adminKey }: World): Fault {
  const bytes = (): Buffer =>
    Buffer.from(Array.from({ length: 1 + Math.floor(random() * 4_096) }, () => Math.floor(random() * 256)));
  return {
    name: 'garbage',
    make: async () => {
      const { port } = new URL(url);
      const raw = Array.from({ length: GARBAGE_SOCKETS }, () => rawGarbage(Number(port), bytes()));
      const lanes = ['/ws/video', '/ws/telemetry', '/ws/foxglove', '/ws/nowhere'].map((path) =>
        laneGarbage(`${url.replace('http', 'ws')}${path}?access_token=${adminKey}&client_id=garbage`, bytes),
      );
      await Promise.all([...raw, ...lanes]);
    },
    shows: [{ figure: 'sightline_refusals_total' }, { figure: 'sightline_sockets_ended_total', label: 'bad_request' }],
  };
}

function rawGarbage(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost' }, () => socket.end(bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.setTimeout(10_000, () => socket.destroy());
    socket.resume();
  });
}

function laneGarbage(url: string, bytes: () => Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, url.includes('foxglove') ? 'foxglove.websocket.v1' : undefined);
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.on('open', () => {
      for (let sent = 0; sent < GARBAGE_BYTES && socket.readyState === socket.OPEN;) {
        const chunk = bytes();
        sent += chunk.length;
        socket.send(chunk.length % 2 === 0 ? chunk : chunk.toString('latin1'));
      }
      socket.close();
    });
  });
}

function reload(world: World): Fault {
  return {
    name: 'reload',
    make: async () => {
      replaceFile(world.files.config, configText(world, 20 + Math.floor(world.random() * 20)));
      process.kill(world.pid, 'SIGHUP');
    },
    shows: [{ figure: 'sightline_config_reloads_total', label: 'taken' }],
  };
}

function reloadBadly(world: World): Fault {
  return {
    name: 'reload_with_error',
    make: async () => {
      const right = readFileSync(world.files.config, 'utf8');
      replaceFile(world.files.config, `${right}\nstreeming: { max_fps: 3 }\n`);
      const status = await post(`${world.url}/api/config/reload`, world.adminKey);
      replaceFile(world.files.config, right);
      if (status !== 400) throw new Error(`a file with an error: status ${status}`);
    },
    shows: [{ figure: 'sightline_config_reloads_total', label: 'failed' }],
  };
}

function rotateKeys({ files, useKey }: World): Fault {
  let count = 0;
  return {
    name: 'rotate_keys',
    make: async () => {
      const next = await addKey(files.keys, `shaken${(count += 1)}`);
      // Known before the old one goes.
      await sleep(1_500);
      await useKey(next);
      const keeps = next.split('_')[1];
      await changeKeys(files.keys, (ring) => ({
        ...ring,
        keys: ring.keys.filter(({ name, id }) => !name.startsWith('shaken') || id === keeps),
      }));
    },
    shows: [{ figure: 'sightline_key_file_reads_total', label: 'taken' }],
  };
}

function rotateCertificate({ files, authority }: World): Fault {
  return {
    name: 'rotate_certificate',
    make: async () => {
      const { certificate, key } = authority.issue({ from: -7_300, to: 7_300 });
      replaceFile(files.certificate, certificate);
      replaceFile(files.key, key);
    },
    shows: [{ figure: 'sightline_tls_certificate_changes_total', label: 'taken' }],
  };
}

/** A key that does not belong to the certificate: nothing changes, and it is told. */
function breakCertificate({ files, authority }: World): Fault {
  return {
    name: 'break_certificate',
    make: async () => {
      const [certificate, key] = [readFileSync(files.certificate, 'utf8'), readFileSync(files.key, 'utf8')];
      replaceFile(files.key, authority.issue().key);
      await sleep(2_000);
      replaceFile(files.certificate, certificate);
      replaceFile(files.key, key);
    },
    shows: [{ figure: 'sightline_tls_certificate_changes_total', label: 'failed' }],
  };
}

function setClock({ files, random }: World): Fault {
  return {
    name: 'set_clock',
    make: async () => {
      replaceFile(files.clock, `${YEARS[Math.floor(random() * YEARS.length)]}\n`);
      await sleep(CLOCK_SET_MS);
      replaceFile(files.clock, '+0\n');
    },
    shows: [{ figure: 'sightline_wall_clock_steps_total' }],
  };
}

function post(url: string, key: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', headers: { Authorization: `Bearer ${key}` } }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode!));
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** The library that lets a process have another wall clock (Debian's `faketime`). */
export const FAKETIME = ['x86_64', 'aarch64']
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));

/** A file system of so many bytes in memory; undefined: only root may make one. Unmounted by `unmount`. */
export function mountDisk(folder: string, bytes: number): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' });
  return status === 0 && statfsSync(folder).blocks * statfsSync(folder).bsize <= bytes * 1.1 ? folder : undefined;
}

export function unmount(folder: string): void {
  spawnSync('umount', ['-l', folder], { stdio: 'ignore' });
}
