import { expect } from 'vitest';
import { eventually } from './browser.ts';

/** While somebody watches what the server draws on a camera of 320 pixels its pictures become smaller, and large again. `videoWidth`: as the viewer has them. */
export async function expectOtherSizes(url: string, videoWidth: () => Promise<number>): Promise<void> {
  for (const [side, width] of [
    [160, 160],
    [null, 320],
  ] as const) {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ settings: { 'fleet.annotated_side': side } });
    expect((await fetch(`${url}/api/config`, { method: 'PUT', headers, body })).status).toBe(200);
    await eventually(videoWidth).toBe(width);
  }
}
