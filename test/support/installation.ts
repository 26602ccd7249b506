import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

/** npm may have to fetch hundreds of megabytes. */
export const INSTALL_TIMEOUT_MS = 300_000;

/**
 * The environment of a stranger, whose Node is new enough and whose npm, with its registry, proxy and certificates, is the machine's. What
 * npm and the test runner tell their children of this project would lead npm and Node astray in another one.
 */
function strangersEnvironment(): NodeJS.ProcessEnv {
  const ours =
    /^(npm_(package|lifecycle)_.*|npm_(command|execpath|node_execpath|config_local_prefix)|INIT_CWD|NODE_(ENV|OPTIONS|PATH|COMPILE_CACHE)|ORT_DISABLE_TELEMETRY|SIGHTLINE_.*|VITEST.*)$/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
  return { ...env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` };
}

/** How projects compile. */
export const PROJECTS = ['nodenext', 'bundler'].flatMap((resolution) =>
  ['es2022', 'es2024,dom'].map((lib) => ({ resolution, lib })),
);

/** What npm would give to a stranger: the packed project in an empty folder, with nothing of the clone in reach. */
export class Installation {
  readonly home: string;
  readonly env: NodeJS.ProcessEnv = { ...strangersEnvironment() };
  /** The paths of the package's files. */
  packed: readonly string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'sightline-package-'));

  constructor() {
    this.home = join(this.#folder, 'home');
    mkdirSync(this.home);
    // The folder for its models is empty as well.
    this.env['XDG_CACHE_HOME'] = join(this.#folder, 'cache');
  }

  /** Packs a folder of the project and installs it, and what else is named of the registry. */
  async install(packageFolder: string, ...others: readonly string[]): Promise<void> {
    const stdout = await run('npm', ['pack', '--json', '--pack-destination', this.#folder], {
      cwd: join(root, packageFolder),
      env: this.env,
    });
    const [{ filename, files }] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as [
      { filename: string; files: { path: string }[] },
    ];
    this.packed = files.map((file) => file.path);
    writeFileSync(join(this.home, 'package.json'), '{ "private": true, "type": "module" }');
    // Without scripts: the native parts come prebuilt, so that none is needed.
    const flags = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
    await run('npm', ['install', ...flags, join(this.#folder, filename), ...others], { cwd: this.home, env: this.env });
    // A project that is written in TypeScript has the types of its Node.
    mkdirSync(join(this.home, 'node_modules', '@types'), { recursive: true });
    for (const types of ['@types/node', 'undici-types']) {
      // A dependency may have brought its own.
      if (!existsSync(join(this.home, 'node_modules', types))) {
        symlinkSync(join(root, 'node_modules', types), join(this.home, 'node_modules', types), 'dir');
      }
    }
  }

  run(command: string, ...words: string[]): Promise<string> {
    return run(command, words, { cwd: this.home, env: this.env });
  }

  /** Runs a module; resolves to what it printed, read as JSON. */
  async evaluate(program: string, node = process.execPath): Promise<unknown> {
    return JSON.parse(await this.run(node, '--input-type=module', '-e', program));
  }

  /** What the compiler says of a module when it is strict, the declarations of its packages included; nothing where all is well. */
  async typeErrors(program: string, { resolution, lib }: { resolution: string; lib: string }): Promise<string> {
    writeFileSync(join(this.home, 'program.ts'), program);
    const module = resolution === 'nodenext' ? 'nodenext' : 'esnext';
    const flags = ['--strict', '--noEmit', '--target', 'es2024', '--lib', lib, '--types', 'node'];
    const how = ['--module', module, '--moduleResolution', resolution];
    return this.run(process.execPath, tsc, ...flags, ...how, 'program.ts').catch((thrown: Error) => thrown.message);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Its standard output; a command that fails tells all that it said, since compilers complain on standard output. */
async function run(command: string, words: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  try {
    return (await promisify(execFile)(command, words, options)).stdout;
  } catch (thrown) {
    const { stdout, stderr } = thrown as { stdout: string; stderr: string };
    throw new Error(`${command} ${words.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: thrown });
  }
}
