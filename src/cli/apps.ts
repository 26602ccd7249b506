import { SightlineError } from '../base/errors.ts';

/** The apps of `--app`, and where their pages are. Without `--app` all pages are there, and the first one is the webcam's. */
const APPS = { rover: { page: '/rover.html' }, traffic: { page: '/wall.html' } } as const;
export type AppName = keyof typeof APPS;

export const APP_OPTION = ['--app <name>', `start one app: ${Object.keys(APPS).join(', ')}`] as const;

/** Errors: USAGE for an unknown name. */
export function checkApp(name: string | undefined): AppName | undefined {
  if (name === undefined || Object.hasOwn(APPS, name)) return name as AppName | undefined;
  throw new SightlineError('USAGE', `there is no app "${name}"; there is ${Object.keys(APPS).join(', ')}`);
}

/** What a server has beside its pages: in a demo all of it, or what its app is about. */
export function partsOf(app: AppName | undefined, isDemo: boolean): { camera: boolean; wall: boolean; rover: boolean } {
  const isWholeDemo = isDemo && app === undefined;
  return {
    camera: isWholeDemo,
    wall: isWholeDemo || (isDemo && app === 'traffic'),
    rover: isWholeDemo || app === 'rover',
  };
}

/** The page that an app opens on, behind the server's URL. */
export function pageOf(app: AppName | undefined): string {
  return app === undefined ? '' : APPS[app].page;
}
