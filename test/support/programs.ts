import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Program {
  readonly names: readonly string[];
  readonly debianPackage: string;
}

const PROGRAMS = {
  chromium: { names: ['chromium', 'chromium-browser', 'google-chrome'], debianPackage: 'chromium' },
  ffmpeg: { names: ['ffmpeg'], debianPackage: 'ffmpeg' },
  ffprobe: { names: ['ffprobe'], debianPackage: 'ffmpeg' },
  prometheus: { names: ['prometheus'], debianPackage: 'prometheus' },
  promtool: { names: ['promtool'], debianPackage: 'prometheus' },
  mosquitto: { names: ['mosquitto'], debianPackage: 'mosquitto' },
  faketime: { names: ['faketime'], debianPackage: 'faketime' },
  ip: { names: ['ip'], debianPackage: 'iproute2' },
  certutil: { names: ['certutil'], debianPackage: 'libnss3-tools' },
  alertmanager: { names: ['prometheus-alertmanager', 'alertmanager'], debianPackage: 'prometheus-alertmanager' },
  nginx: { names: ['nginx'], debianPackage: 'nginx-light' },
} as const satisfies Record<string, Program>;

export type ProgramName = keyof typeof PROGRAMS;

/** The path of a program that a test needs, or `undefined` where the machine lacks it: then the test is skipped. */
export function programPath(name: ProgramName): string | undefined {
  // Debian keeps servers apart from what people call.
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']) {
    for (const file of PROGRAMS[name].names) {
      const path = join(folder, file);
      if (folder !== '' && existsSync(path)) return path;
    }
  }
  return undefined;
}

export function missingPrograms(): Program[] {
  return (Object.keys(PROGRAMS) as ProgramName[])
    .filter((name) => programPath(name) === undefined)
    .map((name) => PROGRAMS[name]);
}
