import { expect, test } from 'vitest';
import { readHostName, readOrigin } from './origins.ts';

test.each([
  ['https://example.org', 'https://example.org'],
  ['https://example.org/', 'https://example.org'],
  ['HTTPS://Example.ORG', 'https://example.org'],
  ['https://example.org:443', 'https://example.org'],
  ['http://example.org:80/', 'http://example.org'],
  ['http://example.org:443', 'http://example.org:443'],
  ['http://localhost:5173', 'http://localhost:5173'],
  [' https://example.org ', 'https://example.org'],
  ['https://bücher.example', 'https://xn--bcher-kva.example'],
  ['https://xn--bcher-kva.example', 'https://xn--bcher-kva.example'],
  ['http://[0:0:0:0:0:0:0:1]:8080', 'http://[::1]:8080'],
  ['http://127.1:80', 'http://127.0.0.1'],
  ['chrome-extension://ABCDEF', 'chrome-extension://abcdef'],
  ['capacitor://localhost/', 'capacitor://localhost'],
])('the origin %s is %s', (text, value) => {
  expect(readOrigin(text)).toEqual({ value });
});

test.each([
  ['*', 'no wildcards'],
  ['https://*.example.org', 'no wildcards'],
  ['null', '"null"'],
  ['example.org', 'begins with its scheme, such as https://example.org'],
  ['localhost:5173', 'begins with its scheme, such as https://localhost:5173'],
  ['//example.org', 'begins with its scheme'],
  ['https:example.org', 'begins with its scheme'],
  ['wss://example.org', 'such as https://example.org'],
  ['ws://example.org/ws/video', 'such as http://example.org'],
  ['file:///home/page.html', '"null"'],
  ['https://example.org/app', 'no path, such as https://example.org'],
  ['https://example.org?x', 'no path, such as https://example.org'],
  ['https://example.org#x', 'no path, such as https://example.org'],
  ['https://user:word@example.org', 'no name and password'],
  ['https://', 'no host'],
  ['https://exa mple.org', 'no host'],
  ['https://example.org:99999', 'port'],
])('the origin %s is refused: %s', (text, why) => {
  expect(readOrigin(text).fault).toContain(why);
});

test.each([
  ['cam.example', 'cam.example'],
  ['CAM.Example', 'cam.example'],
  ['bücher.example', 'xn--bcher-kva.example'],
  ['::1', '[::1]'],
  ['[::1]', '[::1]'],
  ['10.0.0.7', '10.0.0.7'],
])('the host %s is %s', (text, value) => {
  expect(readHostName(text)).toEqual({ value });
});

test.each([
  ['*', 'no wildcards'],
  ['*.example', 'no wildcards'],
  ['cam.example:8080', 'write cam.example'],
  ['https://cam.example', 'write cam.example'],
  ['cam.example/', 'write cam.example'],
  ['a b', 'not a host name'],
])('the host %s is refused: %s', (text, why) => {
  expect(readHostName(text).fault).toContain(why);
});
