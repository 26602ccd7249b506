/** More than there will be. */
const PIPELINES_MAX = 8;

/**
 * Names of pipelines from a list with commas: at least one, none twice. Whether they exist is not decided here.
 * `refuse` makes the error of a bad list; its argument follows the name of the list in a sentence.
 */
export function parsePipelineList(text: string, refuse: (fault: string) => Error): string[] {
  const names = text.split(',');
  if (names.length > PIPELINES_MAX) throw refuse(`names ${names.length}; the most is ${PIPELINES_MAX}`);
  if (names.includes('')) throw refuse(`"${text.slice(0, 80)}" has an empty name in it`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw refuse(`names ${twice.slice(0, 80)} twice`);
  return names;
}
