import { existsSync, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Program {
  /** Of the file in the folders of programs, or the pattern of its whole path. */
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
  redis: { names: ['redis-server'], debianPackage: 'redis-server' },
  faketime: { names: ['faketime'], debianPackage: 'faketime' },
  ip: { names: ['ip'], debianPackage: 'iproute2' },
  certutil: { names: ['certutil'], debianPackage: 'libnss3-tools' },
  alertmanager: { names: ['prometheus-alertmanager', 'alertmanager'], debianPackage: 'prometheus-alertmanager' },
  nginx: { names: ['nginx'], debianPackage: 'nginx-light' },
  // Debian's own: another Python does not know Debian's modules.
  debianPython: { names: ['/usr/bin/python3'], debianPackage: 'python3' },
  pythonGi: { names: ['/usr/lib/python3/dist-packages/gi/__init__.py'], debianPackage: 'python3-gi' },
  gstRtspServer: {
    names: ['/usr/lib/*-linux-gnu/girepository-1.0/GstRtspServer-1.0.typelib'],
    debianPackage: 'gir1.2-gst-rtsp-server-1.0',
  },
  gstRtp: {
    names: ['/usr/lib/*-linux-gnu/gstreamer-1.0/libgstrtp.so'],
    debianPackage: 'gstreamer1.0-plugins-good',
  },
  gstParsers: {
    names: ['/usr/lib/*-linux-gnu/gstreamer-1.0/libgstvideoparsersbad.so'],
    debianPackage: 'gstreamer1.0-plugins-bad',
  },
} as const satisfies Record<string, Program>;

export type ProgramName = keyof typeof PROGRAMS;

/** The path of a program that a test needs, or `undefined` where the machine lacks it: then the test is skipped. */
export function programPath(name: ProgramName): string | undefined {
  const [whole] = PROGRAMS[name].names.filter((one) => one.startsWith('/')).flatMap((one) => globSync(one));
  if (whole !== undefined) return whole;
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
