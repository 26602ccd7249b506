/** Pure parts of the dialog that adds cameras. */

const ID = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** undefined: nothing is wrong with it. */
export function faultOfId(id: string, taken: readonly string[]): string | undefined {
  if (id === '') return 'It needs a name.';
  if (taken.includes(id)) return `There is a camera called ${id} already.`;
  if (ID.test(id)) return undefined;
  if (/[A-Z]/.test(id) && ID.test(id.toLowerCase())) return `Small letters only: ${id.toLowerCase()}.`;
  return 'A name has 1 to 64 characters out of a–z, 0–9, “.”, “_” and “-”, and begins with a letter or a digit.';
}

/** A name for a camera that has none yet, out of its address; it may be taken, or empty. */
export function idOf(url: string): string {
  const [, host = '', path = ''] = /^[a-z]+:\/\/(?:[^/@]*@)?([^/:?#]+)[^/?#]*([^?#]*)/i.exec(url.trim()) ?? [
    '',
    '',
    url,
  ];
  const isNumber = /^[\d.]+$/.test(host) || host === '' || host.includes('[');
  const last = path.split(/[/\\]/).findLast((part) => part !== '') ?? '';
  const name = isNumber ? `${last.replace(/\.[a-z0-9]{1,4}$/i, '')}` : host.split('.')[0]!;
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9._-]+/g, '-');
  return plain
    .replace(/^[^a-z0-9]+/, '')
    .replace(/[^a-z0-9]+$/, '')
    .slice(0, 64);
}

export interface TableFault {
  /** undefined: the fault is of the table as a whole. */
  readonly line: number | undefined;
  readonly text: string;
  /** That line of the table. */
  readonly row: string | undefined;
}

/** What a server says of a table, by line. Addresses may hold passwords; whoever pasted them sees them anyway. */
export function tableFaults(message: string, table: string): TableFault[] {
  const rows = table.split(/\r\n|\r|\n/);
  return message
    .replace(/^body:\s*/, '')
    .split(/; (?=line \d|and \d)/)
    .map((part) => {
      const [, number, rest] = /^line (\d+)(?:,|:)?\s*(.*)$/s.exec(part) ?? [];
      if (number === undefined || rest === undefined) return { line: undefined, text: part, row: undefined };
      return { line: Number(number), text: rest, row: rows[Number(number) - 1] };
    });
}
