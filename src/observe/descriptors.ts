import { readdirSync, readFileSync, statSync } from 'node:fs';

/** File descriptors of this process. Where the system does not tell, figures are undefined; nothing here throws. */

export interface Descriptors {
  /** Those that it may have open at once (the soft limit; Node raises it to the hard one). undefined: no limit is known. */
  readonly max: number | undefined;
  /** Least time between two counts, for what they cost, ms. */
  readonly intervalMs: number;
  /** Those that are open now, all threads included. */
  count(): number | undefined;
}

/** On Linux 6.2 and later one `stat` tells the number of open descriptors, and needs none itself. */
const LINUX_FOLDER = '/proc/self/fd';
/** Elsewhere each has an entry in a folder. */
const FOLDERS = [LINUX_FOLDER, '/dev/fd'];
const STAT_INTERVAL_MS = 50;
/** A folder of thousands of entries takes a millisecond to read. */
const FOLDER_INTERVAL_MS = 5_000;

export class ProcessDescriptors implements Descriptors {
  readonly max = descriptorLimit();
  readonly intervalMs = sizeOf(LINUX_FOLDER) === undefined ? FOLDER_INTERVAL_MS : STAT_INTERVAL_MS;

  count(): number | undefined {
    return sizeOf(LINUX_FOLDER) ?? this.#entries();
  }

  #entries(): number | undefined {
    for (const folder of FOLDERS) {
      try {
        // One of the entries is the folder itself, open for this.
        return readdirSync(folder).length - 1;
      } catch (thrown) {
        const { code } = thrown as NodeJS.ErrnoException;
        if (code === 'EMFILE' || code === 'ENFILE') return this.max;
      }
    }
    return undefined;
  }
}

function sizeOf(path: string): number | undefined {
  try {
    // Older kernels say 0.
    return statSync(path, { throwIfNoEntry: false })?.size || undefined;
  } catch {
    return undefined;
  }
}

function descriptorLimit(): number | undefined {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return reportedLimit();
  }
  return readLimit(/^Max open files +(\S+)/m.exec(limits)?.[1]);
}

/** Of Node's diagnostic report, which takes some milliseconds to make. */
function reportedLimit(): number | undefined {
  // `excludeNetwork` is not in the published types yet: else names of network peers are looked up.
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  const { excludeNetwork } = report;
  try {
    report.excludeNetwork = true;
    const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } };
    return readLimit(String(userLimits?.open_files?.soft));
  } catch {
    return undefined;
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}

function readLimit(text: string | undefined): number | undefined {
  const limit = Number(text);
  return Number.isSafeInteger(limit) && limit > 0 ? limit : undefined;
}
