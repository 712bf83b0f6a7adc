// Assembles the modules of the Worker: Pyodide, the wheels and the Python files.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

export const HERE = path.dirname(new URL(import.meta.url).pathname);
const PYODIDE = path.dirname(createRequire(import.meta.url).resolve("pyodide/package.json"));
const text = (file) => readFileSync(file, "utf8");
const bytes = (file) => new Uint8Array(readFileSync(file));
// Paths are made relative to Miniflare's modulesRoot, wherever Node was started.
const module = (type, name, contents) => ({ type, path: path.join(HERE, name), contents });
const script = (name, contents) => module("ESModule", name, contents);

/** Return the Worker's modules for {modules: [names], wheels: [files], sources: [folders]}. */
export function bundle({ modules, wheels, sources }) {
  const own = ["worker.mjs", "prelude.mjs", "boot.mjs"].map((name) => script(name, text(path.join(HERE, name))));
  const core = ["pyodide.mjs", "pyodide.asm.mjs"].map((name) => script(name, text(path.join(PYODIDE, name))));
  const lock = { ...JSON.parse(text(path.join(PYODIDE, "pyodide-lock.json"))), packages: {} };
  const config = { modules, lock, sources: pythonFiles(sources), glue: text(path.join(HERE, "glue.py")) };
  return [
    ...own,
    ...core,
    module("CompiledWasm", "pyodide.asm.wasm", bytes(path.join(PYODIDE, "pyodide.asm.wasm"))),
    module("Data", "python_stdlib.zip", bytes(path.join(PYODIDE, "python_stdlib.zip"))),
    ...wheels.map((file, i) => module("Data", `wheel${i}.whl`, bytes(file))),
    script("config.mjs", configModule(config, wheels.length)),
  ];
}

function configModule(config, count) {
  const names = Array.from({ length: count }, (_, i) => `wheel${i}`);
  const imports = names.map((name) => `import ${name} from "./${name}.whl";`);
  const values = Object.entries(config).map(([key, value]) => `export const ${key} = ${JSON.stringify(value)};`);
  return [...imports, `export const wheels = [${names}];`, ...values].join("\n");
}

function pythonFiles(folders) {
  const files = {};
  for (const folder of folders) {
    for (const name of readdirSync(folder, { recursive: true })) {
      if (name.endsWith(".py")) files[name] = text(path.join(folder, name));
    }
  }
  return files;
}
