/** The path under which a proxy in front has the server, and which it passes on, such as `/sightline`. Pure. */

/** What a request asks for, behind the base path; undefined: nothing that is under it. Empty: the base path itself, without a slash at its end. */
export function behindBase(basePath: string, url: string): string | undefined {
  if (basePath === '') return url;
  if (!url.startsWith(basePath)) return undefined;
  const rest = url.slice(basePath.length);
  if (rest.startsWith('/')) return rest;
  return rest === '' || rest.startsWith('?') ? '' : undefined;
}
