import { openServer, type Sightline } from './app.ts';
import { loadConfig } from './config/load.ts';

export type { HealthDocument, Sightline } from './app.ts';
export type { Config } from './config/schema.ts';
export { SightlineError, type ErrorCode } from './base/errors.ts';

export interface CreateSightlineOptions {
  /** YAML file, as for `--config`. */
  readonly configFile?: string;
  /** Dotted key → value, such as `{ 'server.port': 0 }`; beats file and environment. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Where `SIGHTLINE_SECTION__KEY` and the cache folder are looked up, such as `process.env`; default: nowhere. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Told in a line what a person should know. */
  readonly say?: (line: string) => void;
}

/**
 * The server inside another program: listens when it resolves, ends with `close()` or `await using`.
 *
 * Throws SightlineError CONFIG_*, ADDRESS_*, MODEL_*.
 */
export async function createSightline(options: CreateSightlineOptions = {}): Promise<Sightline> {
  const { configFile, settings = {}, env = {}, say } = options;
  const config = loadConfig({ file: configFile, env, flags: settings });
  return await openServer({ config, ...(say && { say }) });
}
