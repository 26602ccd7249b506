import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { platformWebSocket, sessionUrl } from './socket.ts';

afterEach(() => vi.unstubAllGlobals());

test.each([
  ['ws://host:1', 'ws://host:1/ws/video'],
  ['http://host/', 'ws://host/ws/video'],
  ['https://host', 'wss://host/ws/video'],
  ['wss://host/stream/detection?pipeline=objects', 'wss://host/stream/detection?pipeline=objects'],
])('%s becomes %s', (url, address) => expect(sessionUrl(url, '/ws/video', {})).toBe(address));

test('in a page an address may be relative to it', () => {
  vi.stubGlobal('location', { href: 'https://host/page/' });
  expect(sessionUrl('/ws/video', '/ws/other', { client_id: 'a b', token: undefined })).toBe(
    'wss://host/ws/video?client_id=a+b',
  );
});

describe('the WebSocket of the platform', () => {
  test('in Node the package ws', () => expect(platformWebSocket()).toBe(WebSocket));

  test('where that is not installed, and in a page, the global one', () => {
    const createRequire = () => () => {
      throw new Error("Cannot find module 'ws'");
    };
    vi.stubGlobal('process', { getBuiltinModule: () => ({ createRequire }) });
    expect(platformWebSocket()).toBe(globalThis.WebSocket);
    vi.stubGlobal('process', undefined);
    expect(platformWebSocket()).toBe(globalThis.WebSocket);
  });

  test('where there is none it says what to do', () => {
    vi.stubGlobal('process', undefined);
    vi.stubGlobal('WebSocket', undefined);
    expect(platformWebSocket).toThrow(expect.objectContaining({ code: 'CONNECTION_FAILED' }));
  });
});
