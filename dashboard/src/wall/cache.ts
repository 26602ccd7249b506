import { ApiError, readCache } from '../fleet/api.ts';
import { element } from '../view.ts';
import { cacheRows, type CacheRow } from './cache-rows.ts';

/** What the server keeps of fragments of cameras for further viewers. */

const INTERVAL_MS = 5_000;
const section = element('cache');
const list = element('cache-rows');

/** Looks again and again, until the server refuses it. */
export async function watchCache(): Promise<void> {
  try {
    show(cacheRows(await readCache()));
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) throw thrown;
    section.hidden = true;
    if (thrown.status === 401 || thrown.status === 403) return;
  }
  setTimeout(() => void watchCache(), INTERVAL_MS);
}

function show(rows: readonly CacheRow[] | undefined): void {
  section.hidden = rows === undefined;
  list.replaceChildren(
    ...(rows ?? []).map(({ name, text, isFailing }) => {
      const item = document.createElement('div');
      const [term, value] = [document.createElement('dt'), document.createElement('dd')];
      [term.textContent, value.textContent] = [name, text];
      if (isFailing) item.dataset['state'] = 'failing';
      item.append(term, value);
      return item;
    }),
  );
}
