import type { Judgement, Objectives } from './objectives.ts';

/** A judgement as a sentence for a person. */
export function summaryOf(
  { rule, class: name, value, threshold }: Judgement,
  { percentile, classes }: Pick<Objectives, 'percentile' | 'classes'>,
): string {
  const number = value ?? 0;
  switch (rule) {
    case 'latency':
      return `${percentile} % of the frames of class ${name} take up to ${number.toFixed(0)} ms, over ${threshold} ms`;
    case 'drops':
      return `${number.toFixed(1)} % of the frames of class ${name} get no result, over ${threshold} %`;
    case 'compliance': {
      const { latencyMs, compliancePercent } = classes[name!];
      const promise = `${compliancePercent} % of the frames of class ${name} have a result within ${latencyMs} ms`;
      return `the objective that ${promise} is missed ${number.toFixed(1)} times as fast as it may be, over ${threshold} times`;
    }
    case 'cpu':
      return `the server uses ${number.toFixed(0)} % of its processors, over ${threshold} %`;
    case 'memory':
      return `the server's resident memory is ${gib(number)} GiB, over ${gib(threshold)} GiB`;
  }
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(2).replace(/\.?0+$/, '');
}
