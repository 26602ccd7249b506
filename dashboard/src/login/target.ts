/** Where to go after signing in: a path of this server, whatever else the address says; else to the page beside that of the login. */
export function targetOf(search: string): string {
  const to = new URLSearchParams(search).get('to') ?? '';
  const here = 'http://here';
  const url = URL.canParse(to, here) ? new URL(to, here) : undefined;
  return url?.origin === here && to.startsWith('/') ? url.pathname + url.search + url.hash : './';
}
