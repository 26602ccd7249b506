import { afterEach, expect, test, vi } from 'vitest';
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

test('a platform without a WebSocket says what to do', () => {
  vi.stubGlobal('WebSocket', undefined);
  expect(platformWebSocket).toThrow(expect.objectContaining({ code: 'CONNECTION_FAILED' }));
});
