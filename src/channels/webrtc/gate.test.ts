import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { Gate } from './gate.ts';

const KEYS = { localUfrag: 'srvr', localPassword: 'secret', remoteUfrag: 'view' };
const DATA = Buffer.from([22, 254, 253, 0]);

/** A message of STUN: a binding request unless told otherwise. */
function stun({ type = 0x0001, name = 'srvr:view', password = 'secret', isSigned = true } = {}): Buffer {
  const username = Buffer.from(name);
  const padding = Buffer.alloc((4 - (username.length % 4)) % 4);
  const attribute = (kind: number, value: Buffer): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt16BE(kind, 0);
    head.writeUInt16BE(value.length, 2);
    return Buffer.concat([head, value]);
  };
  const header = Buffer.alloc(20, 1);
  header.writeUInt16BE(type, 0);
  header.writeUInt32BE(0x2112a442, 4);
  const named = Buffer.concat([header, attribute(0x0006, username), padding]);
  named.writeUInt16BE(named.length + 24 - 20, 2);
  if (!isSigned) return named;
  return Buffer.concat([named, attribute(0x0008, createHmac('sha1', password).update(named).digest())]);
}

test('whoever knows the password is let in, and so is what follows from there, and from nowhere else', () => {
  const gate = new Gate(KEYS);
  expect(gate.admits(DATA, '192.0.2.1', 9)).toBe(false);
  expect(gate.admits(stun(), '192.0.2.1', 9)).toBe(true);
  expect(gate.admits(DATA, '192.0.2.1', 9)).toBe(true);
  expect(gate.admits(stun({ type: 0x0101 }), '192.0.2.1', 9)).toBe(true);
  expect(gate.admits(DATA, '192.0.2.1', 10)).toBe(false);
  expect(gate.admits(DATA, '192.0.2.2', 9)).toBe(false);
  expect(gate.strangers).toBe(3);
});

test.each([
  ['another password', stun({ password: 'other' })],
  ['another name', stun({ name: 'srvr:other' })],
  ['no signature', stun({ isSigned: false })],
  ['a response to nothing', stun({ type: 0x0101 })],
  ['an indication', stun({ type: 0x0011 })],
  ['one that is cut', stun().subarray(0, 30)],
  ['nothing', Buffer.alloc(0)],
])('%s is a stranger’s', (_, datagram) => {
  const gate = new Gate(KEYS);
  expect(gate.admits(datagram, '192.0.2.1', 9)).toBe(false);
  expect(gate.admits(DATA, '192.0.2.1', 9)).toBe(false);
});

test('a viewer has so many addresses, and no more', () => {
  const gate = new Gate(KEYS);
  const admitted = Array.from({ length: 40 }, (_, port) => gate.admits(stun(), '192.0.2.1', port));
  expect(admitted.filter(Boolean)).toHaveLength(16);
});
