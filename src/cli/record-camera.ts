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
  readonly channel: 'raw' | 'annotated';
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
  const { from, to = Date.now(), channel } = flags;
  if (from >= to) throw new SightlineError('USAGE', '--to is not behind --from');
  const { url, headers } = entranceOf(flags.url ?? ownUrl(context.config().server), tokenOf(flags, context));
  const path = resolve(context.cwd, file);
  const beside = path.replace(/\.mp4$/, '.jsonl');
  const of = (name: string, more = '') => new URL(`recordings/${id}/${name}?from=${from}&to=${to}${more}`, url);
  const { signal } = context;
  const bytes = await download(of('clip.mp4', `&channel=${channel}`), path, { signal, headers });
  const results = await download(of('clip.jsonl'), beside, { signal, headers }).catch((thrown: unknown) => {
    // Of a camera with masks the clip that is drawn on is for more people than what was found.
    const isMasked = thrown instanceof SightlineError && thrown.code === 'CAMERA_MASKED';
    if (channel === 'raw' || !isMasked) throw thrown;
    return undefined;
  });
  if (flags.json) {
    const told = results === undefined ? null : beside;
    context.out(JSON.stringify({ file: path, bytes, results: told, results_bytes: results ?? 0 }));
    return;
  }
  context.out(`${path}: ${bytes} bytes`);
  if (results === undefined) context.out(`no results beside it: camera ${id} has masks (CAMERA_MASKED)`);
  else context.out(`${beside}: ${results} bytes of results`);
}
