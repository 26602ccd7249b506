import { REDACTED } from '../log/redact.ts';
import type { Read } from './origins.ts';

/**
 * Addresses of cameras as people write them. What is no address is a path, of a file or a device; other schemes than these are refused, since
 * FFmpeg has many that lead elsewhere (`concat:`, `subfile:`, `pipe:`). Pure.
 */

/** The whole address of a camera that has no place of its own: its frames come by whoever publishes to it (WHIP). */
export const WHIP_ADDRESS = 'whip:';

const SCHEMES = ['rtsp', 'rtsps', 'rtmp', 'rtmps', 'http', 'https', 'file'] as const;
/** One letter is a drive of Windows; FFmpeg takes the options of `subfile` before its colon. */
const SCHEME = /^([a-z][a-z0-9+.-]+):|^(subfile),/i;
const HOST_FIRST = /^([\w.-]+@)?(\d{1,3}(\.\d{1,3}){3}|[\w-]+(\.[\w-]+)+:\d+)([:/]|$)/;

export function readCameraUrl(text: string): Read {
  const given = text.trim();
  if (given === '') return { fault: 'it is empty' };
  if (given === WHIP_ADDRESS) return { value: given };
  if (/\p{Cc}/u.test(given)) return { fault: 'it has a control character in it' };
  // It would take the place of the address that it was shown for.
  if (given.includes(REDACTED)) return { fault: `${REDACTED} stands where something is not shown` };
  if (HOST_FIRST.test(given)) return { fault: 'an address begins with its scheme, such as rtsp://' };
  const [, named, odd] = SCHEME.exec(given) ?? [];
  const scheme = (named ?? odd)?.toLowerCase();
  if (scheme === undefined) {
    const isMistyped = /^(rtsps?|rtmps?|https?)\W*\/\//i.test(given);
    return isMistyped ? { fault: 'behind the scheme of an address there is ://' } : { value: given };
  }
  if (scheme === 'whip') {
    return {
      fault: `${WHIP_ADDRESS} stands alone: whoever publishes to the camera comes to POST /whip/ID of this server`,
    };
  }
  if (!SCHEMES.some((known) => known === scheme)) {
    return {
      fault: `an address begins with one of ${SCHEMES.join(':, ')}:, or it is ${WHIP_ADDRESS}, or the path of a file or a device`,
    };
  }
  if (!given.slice(scheme.length).startsWith('://')) return { fault: 'behind the scheme of an address there is ://' };
  const url = URL.parse(given);
  if (url === null) {
    return {
      fault:
        'its host or port is not valid; in a user or password write %23 for #, %2F for /, %3A for :, %3F for ? and %40 for @',
    };
  }
  if (scheme === 'file') return url.host === '' ? { value: given } : { fault: 'a file has no host: file:///path' };
  return url.hostname === '' ? { fault: 'it names no host' } : { value: given };
}
