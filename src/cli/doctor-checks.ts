import { once } from 'node:events';
import { constants, existsSync } from 'node:fs';
import { access, mkdir, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { sinksOf } from '../alerts/sinks/sinks.ts';
import { loadKeys } from '../auth/key-file.ts';
import { isLoopback } from '../base/addresses.ts';
import { systemClock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import { registryOptions } from '../inference/settings.ts';
import { ModelRegistry } from '../inference/registry.ts';
import { findHardware } from '../sources/camera/hardware-proof.ts';
import { redactText } from '../log/redact.ts';
import { outboundOptions } from '../net/settings.ts';
import { Outbound } from '../net/outbound.ts';
import { ProcessDescriptors } from '../observe/descriptors.ts';
import { machineBytes } from '../observe/machine.ts';
import { traceSettings } from '../observe/settings.ts';
import { excessOf, memoryPlan } from '../sessions/memory-plan.ts';
import { loadIdentity, SOON_MS } from '../tls/certificates.ts';
import type { CertificateSettings } from '../tls/certificates.ts';
import { certificateSettings } from '../tls/settings.ts';
import { ownUrl } from './server-documents.ts';
import { bytesText, plural } from './text.ts';

/** What `sightline doctor` looks at. Each check says what it found, and what to mend. */

export type Verdict = 'ok' | 'warning' | 'fault';

export interface Finding {
  /** What was looked at. */
  readonly check: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to do; not given where all is well. */
  readonly mend?: string;
}

export interface Ground {
  readonly config: Config;
  readonly cwd: string;
}

type Check = (ground: Ground) => Promise<Omit<Finding, 'check'>>;

/** Free space that models and a log may soon need. */
const DISK_BYTES_MIN = 2 ** 30;
const FETCH_BOUNDS = { timeoutMs: 5_000, bytesMax: 256 * 1024 };

const ok = (found: string): Omit<Finding, 'check'> => ({ verdict: 'ok', found });
const warning = (found: string, mend: string): Omit<Finding, 'check'> => ({ verdict: 'warning', found, mend });
const fault = (found: string, mend: string): Omit<Finding, 'check'> => ({ verdict: 'fault', found, mend });

export const CHECKS: Readonly<Record<string, Check>> = {
  libraries: async () => {
    const names = ['onnxruntime-node', '@julusian/jpeg-turbo', 'node-av'];
    const broken: string[] = [];
    for (const name of names) {
      try {
        await import(name);
      } catch (thrown) {
        broken.push(`${name}: ${(thrown as Error).message.split('\n')[0]}`);
      }
    }
    if (broken.length === 0) return ok(`${names.join(', ')} load`);
    return fault(broken.join('; '), 'install again: npm ci in the clone, npm install sightline elsewhere');
  },

  processors: async () => {
    const cores = availableParallelism();
    if (cores >= 2) return ok(`${cores} that this process may use`);
    return warning('one core for sockets and inference together', 'give it two cores or more');
  },

  memory: async ({ config }) => {
    const plan = memoryPlan(config, { workers: config.inference.workers || availableParallelism() });
    const excess = excessOf(plan, config.performance.max_memory_usage, machineBytes());
    if (excess === undefined) return ok(`${bytesText(machineBytes())}, and all bounds together fit`);
    return warning(
      `the bounds come to ${excess.planned_mib} MiB, of ${excess.machine_mib} MiB here`,
      `lower the largest of them: ${excess.largest.join(', ')}`,
    );
  },

  'file descriptors': async ({ config }) => {
    const { max } = new ProcessDescriptors();
    const wanted = config.server.max_connections + config.server.reserved_descriptors;
    if (max === undefined) return ok('this system names no limit');
    if (max >= wanted) return ok(`${max} for ${plural(config.server.max_connections, 'connection')}`);
    return warning(
      `${max}, and server.max_connections would need ${wanted}`,
      `ulimit -n ${wanted}, or fewer connections`,
    );
  },

  'model folder': async ({ config, cwd }) => {
    const folder = resolve(cwd, config.models.cache_dir);
    try {
      await mkdir(folder, { recursive: true });
      await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (thrown) {
      return fault(`${folder}: ${(thrown as Error).message}`, 'let this user write there, or set models.cache_dir');
    }
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    if (free >= DISK_BYTES_MIN) return ok(`${folder}, ${bytesText(free)} free`);
    return warning(`${folder} has ${bytesText(free)} left`, 'make room, or set models.cache_dir to another disk');
  },

  model: async ({ config }) => {
    const id = config.detection.model;
    try {
      const entries = await new ModelRegistry(registryOptions(config)).list();
      const entry = entries.find(({ manifest }) => manifest.id === id);
      if (entry === undefined)
        return fault(`there is no model "${id}"`, 'sightline models list names those that there are');
      if (entry.state !== 'available') return ok(`${id} (${entry.state})`);
      return fault(`${id} is not on this machine`, `sightline models pull ${id}`);
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown);
      return fault(`${id}: ${message} (${code})`, 'see docs/models.md');
    }
  },

  'hardware decoding': async ({ config }) => {
    const wish = config.fleet.hardware_decoding;
    if (wish === 'off') return ok('off: cameras are decoded in software');
    const { type, codecs, reason } = await findHardware(wish);
    const missing = reason === null ? '' : ` (${reason})`;
    if (type !== null) return ok(`${type} decodes ${codecs.join(' and ')}${missing}`);
    const found = `cameras are decoded in software${missing}`;
    // Whoever names a device counts on it.
    if (wish === 'auto') return ok(found);
    return fault(found, 'install what is missing, or set fleet.hardware_decoding to auto or off');
  },

  address: async ({ config }) => {
    const { host, port } = config.server;
    const probe = createServer();
    try {
      probe.listen({ host, port });
      await once(probe, 'listening');
      return ok(`${host}:${port} is free`);
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'EADDRINUSE') return await holderOf(config.server);
      return fault(`${host}:${port}: ${(thrown as Error).message}`, 'set server.host and server.port');
    } finally {
      probe.close();
    }
  },

  keys: async ({ config, cwd }) => {
    const path = resolve(cwd, config.auth.keys_file);
    const { jwt, callback_url: callback } = config.auth;
    try {
      const { keys } = await loadKeys(path);
      const count = `${plural(keys.length, 'key')} in ${path}`;
      const isOpen = keys.length === 0 && jwt.jwks_url === undefined && callback === undefined;
      if (isOpen && !isLoopback(config.server.host)) {
        return fault(
          `${count}, and other machines can reach ${config.server.host}`,
          'sightline keys add NAME --allow admin',
        );
      }
      if (isOpen) return ok(`${count}: every program on this machine may do everything`);
      const over = keys.filter(({ expiresAtMs }) => expiresAtMs !== undefined && expiresAtMs <= Date.now());
      if (over.length > 0) return warning(`${count}, ${over.length} expired`, `sightline keys revoke ${over[0]!.name}`);
      if (keys.length > 0 && isReadableByOthers((await stat(path)).mode)) {
        return warning(`${path} can be read by other users`, `chmod 600 ${path}`);
      }
      return ok(count);
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown);
      return fault(`${message} (${code})`, 'mend the file, or take it away and make new keys');
    }
  },

  'identity provider': async ({ config }) => {
    const { jwks_url: url } = config.auth.jwt;
    if (url === undefined) return ok('none');
    try {
      const response = await new Outbound(outboundOptions(config)).fetch(url, FETCH_BOUNDS);
      const { keys } = (await response.json().catch(() => ({}))) as { keys?: unknown };
      if (!response.ok || !Array.isArray(keys)) throw new Error(`status ${response.status}, no list of keys`);
      return ok(`${plural(keys.length, 'key')} at ${redactText(url)}`);
    } catch (thrown) {
      return fault(
        `${redactText(url)}: ${(thrown as Error).message}`,
        'set auth.jwt.jwks_url to the keys of the provider (JWKS)',
      );
    }
  },

  'collector of traces': async ({ config }) => {
    const { collector } = traceSettings(config);
    if (collector === undefined) return ok('none');
    const { endpoint, headers, timeoutMs } = collector;
    try {
      const response = await new Outbound(outboundOptions(config)).fetch(endpoint, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        // A request without spans is one, too.
        body: JSON.stringify({ resourceSpans: [] }),
        timeoutMs: Math.min(timeoutMs, FETCH_BOUNDS.timeoutMs),
        bytesMax: FETCH_BOUNDS.bytesMax,
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      return ok(`it takes OTLP at ${redactText(endpoint)}`);
    } catch (thrown) {
      return fault(
        `${redactText(endpoint)}: ${(thrown as Error).message}`,
        'set observe.traces.endpoint to where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces',
      );
    }
  },

  store: async ({ config, cwd }) => {
    if (config.store.mode === 'memory') return ok('none: alerts are forgotten with the server');
    const path = resolve(cwd, config.store.file);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await access(dirname(path), constants.R_OK | constants.W_OK | constants.X_OK);
      if (await isThere(path)) await access(path, constants.R_OK | constants.W_OK);
      return ok(path);
    } catch (thrown) {
      return fault(`${path}: ${(thrown as Error).message}`, 'let this user write there, or set store.file');
    }
  },

  alerts: async ({ config }) => {
    const { enabled, webhook_url, webhook_secret_file, instance = hostname() } = config.alerts;
    if (!enabled) return ok('off');
    try {
      const outbound = new Outbound(outboundOptions(config));
      const sinks = sinksOf(config.alerts, { clock: systemClock, outbound, instance });
      if (webhook_url !== undefined && webhook_secret_file === undefined) {
        return warning('the webhook cannot tell who calls it', 'set alerts.webhook_secret_file (docs/alerts.md)');
      }
      return ok(`told by the API${sinks.map(({ name }) => `, ${name}`).join('')}`);
    } catch (thrown) {
      return fault(toSightlineError(thrown).message, 'make the file, readable for this user alone (docs/alerts.md)');
    }
  },

  transport: async ({ config }) => {
    const { host } = config.server;
    const settings = certificateSettings(config.server);
    if (settings) return await certificateAt(settings);
    if (isLoopback(host)) return ok('this machine alone can reach it');
    return warning(`what goes to and from ${host} is not encrypted`, 'use --tls auto, or a certificate (docs/tls.md)');
  },
};

/** Every check; one that fails in a way that nobody foresaw is a fault, too. */
export async function* findings(ground: Ground): AsyncGenerator<Finding> {
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      yield { check: name, ...(await check(ground)) };
    } catch (thrown) {
      const { message } = thrown instanceof SightlineError ? thrown : toSightlineError(thrown);
      yield { check: name, ...fault(message, 'report it with what --debug prints') };
    }
  }
}

/** Who has the port: a server of ours is no fault. */
async function holderOf(server: Config['server']): Promise<Omit<Finding, 'check'>> {
  const { host, port } = server;
  const url = new URL('health', ownUrl(server)).href;
  try {
    const response = await new Outbound().fetch(url, FETCH_BOUNDS);
    const { status } = (await response.json()) as { status?: unknown };
    if (typeof status === 'string') return ok(`a Sightline server is there: ${status.slice(0, 20)}`);
  } catch {
    // Some other program.
  }
  return fault(`another program has ${host}:${port}`, 'end it, or take another port with --port or server.port');
}

async function certificateAt({ files, maintain }: CertificateSettings): Promise<Omit<Finding, 'check'>> {
  if (maintain && !existsSync(files.certificate)) return ok('TLS; the certificate is made at the start');
  try {
    const { names, validToMs } = await loadIdentity(files, Date.now());
    const found = `TLS for ${names.join(', ')} until ${new Date(validToMs).toISOString().slice(0, 10)}`;
    if (maintain || validToMs - Date.now() > SOON_MS) return ok(found);
    return warning(found, 'renew it: the server takes up the new file by itself');
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown);
    return fault(`${message} (${code})`, maintain ? 'it is made anew at the start' : 'see docs/tls.md');
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** Not on Windows, which has no such mode. */
function isReadableByOthers(mode: number): boolean {
  return process.platform !== 'win32' && (mode & 0o077) !== 0;
}
