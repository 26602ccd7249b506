import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, InferenceSession } from 'onnxruntime-node';
import { SightlineError } from '../../base/errors.ts';
import type { SessionSettings } from './messages.ts';
import type { ProviderReport } from './types.ts';

/** Our names of providers as ONNX Runtime's API has them, where they differ, and as its profile has them. */
const API_NAMES: Readonly<Record<string, string>> = { directml: 'dml' };
const PROFILE_NAMES: Readonly<Record<string, string>> = {
  CPUExecutionProvider: 'cpu',
  CUDAExecutionProvider: 'cuda',
  TensorrtExecutionProvider: 'tensorrt',
  WebGpuExecutionProvider: 'webgpu',
  CoreMLExecutionProvider: 'coreml',
  DmlExecutionProvider: 'directml',
};

// A provider that is not available is a result here, listed in the report, and not a line on the terminal.
env.logLevel = 'fatal';

export interface OpenedSession<T> {
  readonly session: InferenceSession;
  readonly report: ProviderReport;
  /** The result of `prove`. */
  readonly proven: T;
}

/**
 * Opens a session with the first provider that can both load the model and run `prove` on it (a first run).
 * Providers are tried alone, since one that is listed beside others falls back silently; nodes that a provider lacks run on
 * the CPU, which the report's `nodes` show. Errors: MODEL_UNAVAILABLE when no provider is left, with each one's reason;
 * a SightlineError of `prove` ends the search at once.
 */
export async function openSession<T>(
  name: string,
  onnxPath: string,
  settings: SessionSettings,
  profile: boolean,
  prove: (session: InferenceSession) => Promise<T>,
): Promise<OpenedSession<T>> {
  const refused: { provider: string; reason: string }[] = [];
  for (const provider of settings.providers) {
    const folder = profile ? await mkdtemp(join(tmpdir(), 'sightline-profile-')) : undefined;
    let session: InferenceSession | undefined;
    try {
      session = await InferenceSession.create(onnxPath, sessionOptions(provider, settings, folder));
      const proven = await prove(session);
      const nodes = folder ? await countNodes(session, folder) : {};
      const notes = notesOn(provider, settings);
      return { session, proven, report: { requested: settings.providers, effective: provider, refused, nodes, notes } };
    } catch (thrown) {
      await session?.release();
      if (thrown instanceof SightlineError) throw thrown;
      refused.push({ provider, reason: firstLine(thrown) });
    } finally {
      if (folder) await rm(folder, { recursive: true, force: true });
    }
  }
  const reasons = refused.map(({ provider, reason }) => `${provider}: ${reason}`).join('; ');
  throw new SightlineError('MODEL_UNAVAILABLE', `${name} runs on none of the requested providers (${reasons})`);
}

function sessionOptions(provider: string, settings: SessionSettings, profileFolder: string | undefined) {
  const options: InferenceSession.SessionOptions = {
    executionProviders: [API_NAMES[provider] ?? provider],
    intraOpNumThreads: settings.intraOpThreads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
    extra: {
      session: {
        intra_op: { allow_spinning: settings.spinning ? '1' : '0' },
        ...(settings.threadBinding && { intra_op_thread_affinities: settings.threadBinding }),
      },
    },
  };
  if (profileFolder === undefined) return options;
  return { ...options, enableProfiling: true, profileFilePrefix: join(profileFolder, 'run') };
}

/** Settings that could not be followed. onnxruntime-node 1.30 passes a device's number to providers, but no limit of memory. */
function notesOn(provider: string, { deviceMemoryBytesMax }: SessionSettings): string[] {
  if (provider === 'cpu' || deviceMemoryBytesMax === undefined) return [];
  return [
    `the device-memory limit of ${deviceMemoryBytesMax} bytes is not applied: ONNX Runtime for Node takes none for ${provider}`,
  ];
}

/** Ends the profile of the runs so far and counts the nodes in it by provider. */
async function countNodes(session: InferenceSession, folder: string): Promise<Record<string, number>> {
  session.endProfiling();
  const [file] = await readdir(folder);
  if (file === undefined) return {};
  const events: readonly ProfileEvent[] = JSON.parse(await readFile(join(folder, file), 'utf8'));
  return nodesByProvider(events);
}

export interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly args?: { readonly provider?: string; readonly node_index?: string };
}

/** Nodes of an ONNX Runtime profile by the provider that ran them; a node that ran several times counts once. */
export function nodesByProvider(events: readonly ProfileEvent[]): Record<string, number> {
  const seen = new Set<string>();
  const nodes: Record<string, number> = {};
  for (const { cat, name, args } of events) {
    if (cat !== 'Node' || args?.provider === undefined || !name.endsWith('_kernel_time')) continue;
    const key = `${args.node_index} ${name}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const provider = PROFILE_NAMES[args.provider] ?? args.provider;
    nodes[provider] = (nodes[provider] ?? 0) + 1;
  }
  return nodes;
}

const REASON_CHARS_MAX = 300;

function firstLine(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return text.split('\n', 1)[0]!.slice(0, REASON_CHARS_MAX);
}
