import { expect, test } from 'vitest';
import { behindBase } from './base-path.ts';

test.each([
  ['', '/health', '/health'],
  ['', '//x', '//x'],
  ['/sightline', '/sightline/', '/'],
  ['/sightline', '/sightline/ws/video?a=/b', '/ws/video?a=/b'],
  ['/a/b', '/a/b/health', '/health'],
  ['/sightline', '/sightline', ''],
  ['/sightline', '/sightline?x=1', ''],
  ['/sightline', '/sightlines', undefined],
  ['/sightline', '/health', undefined],
  ['/sightline', '/', undefined],
  ['/sightline', '/x/sightline/health', undefined],
  // It is not for a client to say in other words where the server is.
  ['/sightline', '/%73ightline/health', undefined],
  ['/sightline', '/x/../sightline/health', undefined],
  ['/sightline', 'http://cam.example/sightline/health', undefined],
  ['/sightline', '*', undefined],
])('under "%s", %s is %s', (base, url, rest) => expect(behindBase(base, url)).toBe(rest));
