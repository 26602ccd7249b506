import { expect, test } from 'vitest';
import { holder } from '../../test/support/camera-api.ts';
import { SightlineError } from '../base/errors.ts';
import { shownPieces, type AskedMedia } from './camera-media.ts';

async function* pieces(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < 5; i++) yield Buffer.from([i]);
}

/** What comes until something happens before the third piece. */
async function comesUntil(asked: Pick<AskedMedia, 'caller' | 'requireShown'>, happens: () => void): Promise<unknown[]> {
  const came: unknown[] = [];
  try {
    for await (const [piece] of shownPieces({ ...asked, id: 'north' }, pieces())) {
      came.push(piece);
      if (piece === 1) happens();
    }
  } catch (thrown) {
    came.push((thrown as SightlineError).code);
  }
  return came;
}

test('a long answer ends where masks come to the camera, or the credential ends', async () => {
  const principal = holder('read:cameras/north');
  const caller = { principal } as unknown as AskedMedia['caller'];
  let isMasked = false;
  const requireShown = (): void => {
    if (isMasked) throw new SightlineError('CAMERA_MASKED', 'it has masks');
  };
  expect(await comesUntil({ caller, requireShown }, () => {})).toEqual([0, 1, 2, 3, 4]);
  expect(await comesUntil({ caller, requireShown }, () => (isMasked = true))).toEqual([0, 1, 'CAMERA_MASKED']);
  isMasked = false;
  const end = () => principal.end(new SightlineError('CREDENTIALS_EXPIRED', 'it is over'));
  expect(await comesUntil({ caller, requireShown }, end)).toEqual([0, 1, 'CREDENTIALS_EXPIRED']);
});
