import type { Command } from 'commander';
import type { CliContext } from './context.ts';
import type { Finding } from './doctor-checks.ts';

const HELP = `
It starts no server and changes nothing, but for making the folder of models. The exit code is 0 where nothing is at fault, else 1.

Examples:
  sightline doctor
  sightline doctor --config sightline.yaml
  sightline doctor --json | jq 'select(.verdict != "ok")'
`;

const SIGNS = { ok: 'ok     ', warning: 'warning', fault: 'FAULT  ' } as const;

/** `sightline doctor`: would a server with this configuration do well on this machine, and if not, what is to be mended. */
export function registerDoctor(program: Command, context: CliContext): void {
  program
    .command('doctor')
    .description('check this machine, the configuration, the models and the address; say what to mend')
    .option('--json', 'print each finding as a line of JSON')
    .addHelpText('after', HELP)
    .action(async ({ json }: { json?: boolean }) => {
      // A configuration with an error ends the command here, with its line.
      const ground = { config: context.config(), cwd: context.cwd };
      const { findings } = await import('./doctor-checks.ts');
      let faults = 0;
      for await (const finding of findings(ground)) {
        context.signal.throwIfAborted();
        if (finding.verdict === 'fault') faults++;
        if (json) context.out(JSON.stringify(finding));
        else for (const line of linesOf(finding)) context.text(line);
      }
      if (faults > 0) context.exitWith(1);
    });
}

export function linesOf({ check, verdict, found, mend }: Finding): string[] {
  return [`${SIGNS[verdict]}  ${check}: ${found}`, ...(mend === undefined ? [] : [`         → ${mend}`])];
}
