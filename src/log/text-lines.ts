import type { LogEntry } from './log.ts';

/** An entry as a line for a person: the sentence, with what matters beyond it. */
export function textLine({ level, text, suppressed }: LogEntry): string {
  const weight = level === 'info' ? '' : `${level}: `;
  const more = suppressed === undefined ? '' : ` (and ${suppressed} more like this)`;
  return `${weight}${plain(text)}${more}`;
}

/** A client's words must not move the cursor of a terminal. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  return text.replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, (character) => {
    return `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`;
  });
}
