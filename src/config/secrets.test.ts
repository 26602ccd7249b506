import { expect, test } from 'vitest';
import { loadConfig, resolveConfig } from './load.ts';
import { isSecret, shownValue } from './secrets.ts';

const flags = {
  'auth.callback_url': 'http://me:hidden1@127.0.0.1/who?key=hidden2',
  'alerts.webhook_url': 'https://chat.example/services/hidden7/hidden8',
  'alerts.mqtt_url': 'mqtt://me:hidden9@broker.example',
  'alerts.alertmanager_url': 'https://example.org/tenant/hidden0',
  'observe.traces.headers': ['Authorization=Bearer hidden3', 'x-team=hidden4'],
  'profiles.night.observe.traces.headers': ['x-team=hidden5'],
  'profiles.a.b.observe.traces.headers': ['x-team=hidden6'],
};

test('nothing secret of a configuration is shown, of entries neither; all else is', () => {
  const config = loadConfig({ flags });
  const shown = shownValue('', config);
  expect(JSON.stringify(shown)).not.toMatch(/hidden\d/);
  expect(shown.auth.callback_url).toBe('http://[redacted]@127.0.0.1/who?key=[redacted]');
  expect(shown.alerts.webhook_url).toBe('[redacted]');
  expect(shown.observe.traces.headers).toEqual(['Authorization=[redacted]', 'x-team=[redacted]']);
  const plain = loadConfig();
  expect(shownValue('', plain)).toEqual(plain);
});

test('a part is shown by its path', () => {
  expect(shownValue('observe.traces.headers', ['x=hidden1', 'hidden2'])).toEqual(['x=[redacted]', '[redacted]']);
  expect(shownValue('profiles.a.b', { observe: { traces: { headers: ['x=hidden1'] } } })).toEqual({
    observe: { traces: { headers: ['x=[redacted]'] } },
  });
  expect(isSecret(['server', 'port'])).toBe(false);
  expect(isSecret(['nothing', 'observe.traces.headers'])).toBe(false);
});

test.each([
  ['a value within a list', { 'observe.traces.headers': ['x=hidden1', { y: 'hidden2' }] }],
  ['too much', { 'observe.traces.headers': Array.from({ length: 40 }, () => 'x=hidden1') }],
  ['no name', { 'observe.traces.headers': ['hidden1'] }],
  ['an address of another kind', { 'auth.callback_url': 'ftp://me:hidden1@127.0.0.1/' }],
  ['an address of a webhook', { 'alerts.webhook_url': 'hidden1', 'alerts.mqtt_url': 'x://hidden1' }],
  ['an address of a webhook that is too long', { 'alerts.webhook_url': 'hidden1'.repeat(1_000) }],
  ['an address that is none', { 'server.allowed_origins': ['https://me:hidden1@example.org/path'] }],
  ['an address that is too long', { 'auth.callback_url': `http://me:${'hidden1'.repeat(300)}@x/` }],
  ['a key that there is not', { 'auth.token=hidden1': 1 }],
  ['of an entry', { 'profiles.night.observe.traces.headers': ['x=hidden1', { y: 'hidden2' }] }],
  ['an entry as a whole', { 'profiles.night': { observe: { traces: { headers: ['x=hidden1', 7] } } } }],
])('a refusal does not tell it either: %s', (_what, wrong) => {
  expect(() => resolveConfig({ flags: wrong })).toThrow(
    expect.objectContaining({ message: expect.not.stringMatching(/hidden\d/) }),
  );
});
