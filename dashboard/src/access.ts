/** Who is signed in. */
export interface Me {
  /** The server asks for a key. */
  readonly asks: boolean;
  readonly name: string | null;
  readonly permissions: readonly string[];
}

/** Leads to the page that asks for a key, where the server wants one and nobody is signed in; then it never resolves. */
export async function requireLogin(): Promise<Me> {
  // A server that is away, or an older one, is for the page itself to tell.
  const me = await ask<Me>('api/me').catch(() => undefined);
  if (me === undefined) return { asks: false, name: null, permissions: [] };
  if (me.asks && me.name === null) return leave();
  if (me.asks) showLogout(me);
  return me;
}

/** To the page that asks for a key, and back from there. */
export function leave(): Promise<never> {
  const here = location.pathname + location.search + location.hash;
  location.replace(`login.html?to=${encodeURIComponent(here)}`);
  return new Promise(() => {});
}

/** Whether the server lets do that; it has the last word. `cameras` as a resource stands for all of them. */
export function may({ asks, permissions }: Me, action: string, resource: string): boolean {
  if (!asks && permissions.length === 0) return true;
  return permissions.some((permission) => {
    const [, own = '', filter = '#'] = /^([^:]*)(?::(.*))?$/.exec(permission) ?? [];
    return (own === action || own === 'admin') && takesIn(filter.split('/'), resource.split('/'));
  });
}

/** `+` is any one level, `#` all that follow, none included. */
function takesIn(filter: readonly string[], levels: readonly string[]): boolean {
  for (const [place, level] of filter.entries()) {
    if (level === '#') return true;
    if (levels[place] === undefined || (level !== '+' && level !== levels[place])) return false;
  }
  return filter.length === levels.length;
}

/** Throws with the server's words. */
export async function signIn(
  proof: { readonly key: string } | { readonly name: string; readonly password: string },
): Promise<Me> {
  return await ask<Me>('api/login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(proof),
  });
}

async function ask<T>(path: string, request?: RequestInit): Promise<T> {
  const response = await fetch(path, request);
  const answer = (await response.json()) as T & { readonly error?: { readonly message: string } };
  if (!response.ok) throw new Error(answer.error?.message ?? `the server answers with status ${response.status}`);
  return answer;
}

function showLogout({ name }: Me): void {
  if (document.querySelector('.logout')) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'logout';
  button.textContent = 'Sign out';
  button.title = `Signed in as ${name}`;
  button.addEventListener('click', () => {
    button.disabled = true;
    void ask('api/logout', { method: 'POST' }).then(leave, () => (button.disabled = false));
  });
  document.querySelector('.pages')?.after(button);
}
