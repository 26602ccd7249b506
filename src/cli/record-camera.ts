import { resolve } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { ENTRY_SECTIONS, nameFault } from '../config/keys.ts';
import type { CliContext } from './context.ts';
import { tokenOf } from './options.ts';
import { download, entranceOf, ownUrl } from './server-documents.ts';

export interface RecordCameraFlags {
  readonly url?: URL;
  readonly token?: string;
  readonly from: number;
  readonly to?: number;
  readonly json?: boolean;
}

const SECTION = ENTRY_SECTIONS.get('cameras')!;

/** The command `sightline record camera`, with its words parsed. */
export async function recordCamera(
  { id, file }: { readonly id: string; readonly file: string },
  flags: RecordCameraFlags,
  context: CliContext,
): Promise<void> {
  const fault = nameFault(SECTION, id);
  if (fault !== undefined)
    throw new SightlineError('USAGE', `no camera is called ${JSON.stringify(id.slice(0, 80))}: ${fault}`);
  const { from, to = Date.now() } = flags;
  if (from >= to) throw new SightlineError('USAGE', '--to is not behind --from');
  const { url, headers } = entranceOf(flags.url ?? ownUrl(context.config().server), tokenOf(flags, context));
  const path = resolve(context.cwd, file);
  const beside = path.replace(/\.mp4$/, '.jsonl');
  const of = (name: string) => new URL(`recordings/${id}/${name}?from=${from}&to=${to}`, url);
  const { signal } = context;
  const bytes = await download(of('clip.mp4'), path, { signal, headers });
  const resultBytes = await download(of('clip.jsonl'), beside, { signal, headers });
  if (flags.json) {
    context.out(JSON.stringify({ file: path, bytes, results: beside, results_bytes: resultBytes }));
    return;
  }
  context.out(`${path}: ${bytes} bytes`);
  context.out(`${beside}: ${resultBytes} bytes of results`);
}
