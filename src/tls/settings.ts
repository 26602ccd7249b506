import { isIP } from 'node:net';
import { basename, dirname, resolve } from 'node:path';
import { authorityFiles, maintainAuthority } from './authority.ts';
import type { CertificateSettings } from './certificates.ts';
import { certificateNames, machineName } from './names.ts';

/** The part of the configuration for this room, in the room's own terms. */

interface ServerConfig {
  readonly host: string;
  readonly allowed_hosts: readonly string[];
  readonly tls: {
    readonly cert_file?: string | undefined;
    readonly key_file?: string | undefined;
    readonly auto: boolean;
    readonly folder: string;
  };
}

/** undefined: the server speaks no TLS. */
export function certificateSettings({
  host,
  allowed_hosts: allowed,
  tls,
}: ServerConfig): CertificateSettings | undefined {
  const { cert_file: certificate, key_file: key, auto, folder } = tls;
  if (certificate !== undefined && key !== undefined) return { files: { certificate, key } };
  if (!auto) return undefined;
  const { server, authority } = authorityFiles(folder);
  const isEvery = isIP(host) !== 0 && /^[0:.]+$/.test(host);
  const more = [...(isEvery ? [] : [host]), ...allowed];
  return {
    files: { certificate: server, key: server },
    authority: { folder: resolve(dirname(authority)), name: basename(authority) },
    maintain: (nowMs) => maintainAuthority(folder, { machine: machineName(), names: certificateNames(more), nowMs }),
  };
}
