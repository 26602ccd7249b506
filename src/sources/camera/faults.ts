import { constants } from 'node:os';
import {
  AVERROR_HTTP_BAD_REQUEST,
  AVERROR_HTTP_FORBIDDEN,
  AVERROR_HTTP_NOT_FOUND,
  AVERROR_HTTP_OTHER_4XX,
  AVERROR_HTTP_SERVER_ERROR,
  AVERROR_HTTP_UNAUTHORIZED,
  AVERROR_INVALIDDATA,
} from 'node-av/constants';
import { SightlineError } from '../../base/errors.ts';
import { OutboundError } from '../../net/outbound.ts';
import { reasonOf } from '../ffmpeg.ts';

/** Why a camera gives no frames, in plain words. None of them has anything of its address in it: that may have credentials. */

/** By the system's name of the error. */
const SYSTEM_FAULTS = {
  ECONNREFUSED: 'it refuses the connection',
  EHOSTUNREACH: 'there is no way to this host',
  ENETUNREACH: 'there is no way to this network',
  ETIMEDOUT: 'it does not answer in time',
  ECONNRESET: 'it has closed the connection',
  EPIPE: 'it has closed the connection',
  EIO: 'it cannot be reached, or breaks off',
  EADDRNOTAVAIL: 'this machine has no such address',
  EADDRINUSE: 'this port is in use',
} as const;

/** FFmpeg gives the system's errors as negative numbers. */
const NUMBER_FAULTS: ReadonlyMap<number, string> = new Map(
  Object.entries(SYSTEM_FAULTS).map(([name, words]) => [-constants.errno[name as keyof typeof SYSTEM_FAULTS], words]),
);

const CODE_FAULTS: Readonly<Record<string, string>> = {
  ...SYSTEM_FAULTS,
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'its name cannot be looked up at present',
};

/** Of a negative code of FFmpeg's, of a source in the network. */
export function networkFault(code: number): SightlineError {
  if (code === AVERROR_HTTP_UNAUTHORIZED) return statusFault(401);
  if (code === AVERROR_HTTP_FORBIDDEN) return statusFault(403);
  if (code === AVERROR_HTTP_NOT_FOUND) return statusFault(404);
  if ([AVERROR_HTTP_BAD_REQUEST, AVERROR_HTTP_OTHER_4XX, AVERROR_HTTP_SERVER_ERROR].includes(code as never)) {
    return new SightlineError('CAMERA_UNREACHABLE', `it refuses: ${reasonOf(code)}`);
  }
  const known = NUMBER_FAULTS.get(code);
  if (known !== undefined) return new SightlineError('CAMERA_UNREACHABLE', known);
  return formatFault(code);
}

/** Of a negative code of FFmpeg's, once the bytes are there. */
export function formatFault(code: number): SightlineError {
  const reason = code === AVERROR_INVALIDDATA ? 'what it sends is no video that FFmpeg knows' : reasonOf(code);
  return new SightlineError('CAMERA_FORMAT', reason);
}

/** Of an answer by HTTP or RTSP that is not 2xx. */
export function statusFault(status: number, words = ''): SightlineError {
  const text = `${status}${words === '' ? '' : ` ${words}`}`;
  if (status === 401 || status === 403 || status === 407) {
    return new SightlineError('CAMERA_CREDENTIALS', `it wants other credentials (${text})`);
  }
  if (status === 404 || status === 410)
    return new SightlineError('CAMERA_NOT_FOUND', `it has no such stream (${text})`);
  return new SightlineError('CAMERA_UNREACHABLE', `it refuses (${text})`);
}

/** Of a connection, or of anything else that was thrown. */
export function connectionFault(thrown: unknown): SightlineError {
  if (thrown instanceof SightlineError) return thrown;
  const cause = thrown instanceof OutboundError && thrown.cause !== undefined ? thrown.cause : thrown;
  if (thrown instanceof OutboundError && thrown.fault === 'forbidden') {
    return new SightlineError('CAMERA_FORBIDDEN', thrown.message, { cause: thrown });
  }
  if (thrown instanceof OutboundError && thrown.fault === 'timeout') {
    return new SightlineError('CAMERA_UNREACHABLE', 'it does not answer in time', { cause: thrown });
  }
  const first = cause instanceof AggregateError ? (cause.errors[0] as unknown) : cause;
  const { code, message } = (first ?? {}) as NodeJS.ErrnoException;
  const known = CODE_FAULTS[code ?? ''];
  const words = known ?? (message === undefined || message === '' ? 'the connection failed' : message);
  return new SightlineError('CAMERA_UNREACHABLE', words, { cause: thrown });
}
