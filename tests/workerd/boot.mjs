// Boots CPython in global scope, where workerd has neither randomness nor timers nor I/O.
import { hidden } from "./prelude.mjs";
import { loadPyodide } from "./pyodide.mjs";
import createPyodideModule from "./pyodide.asm.mjs";
import stdlib from "./python_stdlib.zip";
import { glue, lock, modules, sources, wheels } from "./config.mjs";
import * as cloudflareWorkersModule from "cloudflare:workers";
import * as cloudflareSocketsModule from "cloudflare:sockets";

const BASE = "https://pyodide.invalid/";
const HOME = "/session/metadata"; // where Cloudflare puts a Worker's own Python files

/** Return {deliver, methods, facts}: hands an event to Python; what it answers to; how the start went. */
export async function boot() {
  const stubs = stubGlobalScope();
  try {
    const python = await loadPython();
    install(python);
    registerHelpers(python);
    const start = python.runPython(glue, { filename: "glue.py" });
    // From here on the rules of a deploy hold: what is drawn now would be the same in every isolate.
    const drawsBefore = stubs.draws();
    const deliver = start(modules, mark);
    const methods = deliver.methods.toJs();
    return { deliver, methods, facts: { pyodide: python.version, entropyDraws: stubs.draws() - drawsBefore } };
  } finally {
    stubs.restore();
  }
}

// workerd's clock stands still in global scope: the server beside it takes the time of these lines.
function mark(name) {
  console.log(`import: ${name}`);
}

// Production restores a snapshot here. What Emscripten itself draws while it starts is constant, and its
// turns of the event loop become microtasks; a longer timer fails as it would in a deploy.
function stubGlobalScope() {
  let draws = 0;
  const realTimeout = globalThis.setTimeout;
  const value = (array) => {
    draws += 1;
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).fill(7);
    return array;
  };
  Object.defineProperty(crypto, "getRandomValues", { value, configurable: true, writable: true });
  globalThis.setTimeout = (callback, ms, ...rest) =>
    ms ? realTimeout(callback, ms, ...rest) : (queueMicrotask(() => callback(...rest)), 0);
  globalThis.fetch = serveStandardLibrary;
  return {
    draws: () => draws,
    restore() {
      delete crypto.getRandomValues;
      globalThis.setTimeout = realTimeout;
      globalThis.fetch = hidden.fetch;
      if (hidden.process) globalThis.process = hidden.process;
    },
  };
}

async function serveStandardLibrary(resource) {
  const url = String(resource?.url ?? resource);
  if (!url.startsWith(BASE)) throw new Error(`no I/O in global scope: ${url}`);
  return { ok: true, arrayBuffer: async () => stdlib };
}

function loadPython() {
  return loadPyodide({
    indexURL: BASE,
    packageBaseUrl: BASE,
    createPyodideModule,
    lockFileContents: lock,
    env: { HOME: "/session", PYTHONHASHSEED: "111" },
  });
}

function install(python) {
  const site = python.runPython("import site; site.getsitepackages()[0]");
  for (const wheel of wheels) python.unpackArchive(wheel, "wheel", { extractDir: site });
  python.FS.mkdirTree(HOME);
  for (const [name, text] of Object.entries(sources)) {
    const path = `${HOME}/${name}`;
    python.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    python.FS.writeFile(path, text);
  }
  python.runPython(`import sys, importlib; sys.path.insert(0, "${HOME}"); importlib.invalidate_caches()`);
}

// What Cloudflare's SDK expects of the runtime.
function registerHelpers(python) {
  python.registerJsModule("_pyodide_entrypoint_helper", {
    cloudflareWorkersModule,
    cloudflareSocketsModule,
    doAnImport: (name) => import(name),
    patchWaitUntil,
  });
  python.registerJsModule("_cloudflare_compat_flags", {
    python_workflows_implicit_dependencies: true,
    python_request_headers_preserve_commas: true,
  });
}

// A Python awaitable handed to ctx.waitUntil would die with the call that made it; a copy lives on.
const patched = new WeakSet();
function patchWaitUntil(ctx) {
  if (typeof ctx?.waitUntil !== "function" || patched.has(ctx)) return;
  patched.add(ctx);
  const waitUntil = ctx.waitUntil.bind(ctx);
  ctx.waitUntil = (work) => {
    const own = typeof work?.copy === "function" ? work.copy() : work;
    waitUntil(Promise.resolve(own).finally(() => own?.destroy?.()));
  };
}
