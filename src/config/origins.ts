/**
 * Origins of pages and names of hosts as people write them, normalised to the form in which a browser sends them: a value
 * that can never equal a header would silently allow nobody. Pure.
 */

export type Read = { readonly value: string; readonly fault?: undefined } | { readonly fault: string };

/** Scheme, authority, and what follows. */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\]*)(.*)$/is;
/** Pages of these have the origin `null`. */
const OPAQUE_SCHEMES: ReadonlySet<string> = new Set(['about', 'blob', 'data', 'file', 'filesystem', 'javascript']);

/** The serialised origin (https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin). */
export function readOrigin(text: string): Read {
  const given = text.trim();
  if (given.includes('*')) return { fault: 'there are no wildcards: name every origin in full' };
  if (given.toLowerCase() === 'null') {
    return { fault: 'any page can take on the origin "null", so that it cannot be allowed' };
  }
  const [, anyScheme, authority = '', rest = ''] = ORIGIN.exec(given) ?? [];
  if (anyScheme === undefined) return { fault: `an origin begins with its scheme${suggested(`https://${given}`)}` };
  const scheme = anyScheme.toLowerCase();
  if (OPAQUE_SCHEMES.has(scheme)) {
    return { fault: `a page of ${scheme}: has the origin "null", which cannot be allowed: serve it over http:` };
  }
  if (scheme === 'ws' || scheme === 'wss') {
    return { fault: `it is the page's origin${suggested(`${scheme === 'ws' ? 'http' : 'https'}://${authority}`)}` };
  }
  if (authority.includes('@')) return { fault: 'an origin has no name and password' };
  if (rest !== '' && rest !== '/') {
    return { fault: `an origin has no path${suggested(`${scheme}://${authority}`)}` };
  }
  if (authority === '' || /\s/.test(authority)) return { fault: 'it names no host' };
  // Those of extensions and of apps in a shell, which URL knows no origins of.
  if (scheme !== 'http' && scheme !== 'https') return { value: `${scheme}://${authority.toLowerCase()}` };
  const url = URL.parse(`${scheme}://${authority}`);
  return url === null ? { fault: 'its host or port is not valid' } : { value: url.origin };
}

/** A host's name or address without a port, as it comes out of a `Host` header. */
export function readHostName(text: string): Read {
  const given = text.trim();
  if (given.includes('*')) return { fault: 'there are no wildcards: name every host in full' };
  if (/[/?#@\\]/.test(given)) return { fault: `a host has neither scheme nor path${suggestedHost(given)}` };
  const isIpv6 = given.split(':').length > 2 && !given.startsWith('[');
  const url = URL.parse(`http://${isIpv6 ? `[${given}]` : given}`);
  if (url === null) return { fault: 'it is not a host name' };
  if (!isIpv6 && /:\d*$/.test(given))
    return { fault: `a host has no port here, every port counts${suggestedHost(given)}` };
  return { value: url.hostname };
}

/** The likely intended value, where there is one. */
function suggested(text: string): string {
  const read = readOrigin(text.split('/', 3).join('/'));
  return read.fault === undefined ? `, such as ${read.value}` : '';
}

function suggestedHost(text: string): string {
  const host = URL.parse(text.includes('://') ? text : `http://${text}`)?.hostname;
  return host ? `: write ${host}` : '';
}
