/** What V8 takes for the characters of a text: two bytes for each where one of them needs two. */
export function textBytes(text: string): number {
  return /[\u0100-\uffff]/.test(text) ? 2 * text.length : text.length;
}
