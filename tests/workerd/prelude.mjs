// Evaluated before Pyodide: prepares globals so that Emscripten runs inside workerd.
import { env } from "cloudflare:workers";
import pyodideWasm from "./pyodide.asm.wasm";

export const hidden = { process: globalThis.process, fetch: globalThis.fetch };

// Recent compatibility dates define `process.versions.node`, and Emscripten would believe it is Node.
globalThis.process = undefined;
globalThis.location = new URL("https://pyodide.invalid/");
globalThis.setImmediate ??= (callback, ...rest) => setTimeout(callback, 0, ...rest);
globalThis.clearImmediate ??= (id) => clearTimeout(id);

// workerd compiles no WebAssembly from bytes, except through a binding that Miniflare offers.
const { Module: RealModule, Instance } = WebAssembly;
function Module(bytes) {
  return env.UNSAFE_EVAL.newWasmModule(bytes);
}
Module.prototype = RealModule.prototype;
for (const name of ["customSections", "exports", "imports"]) Module[name] = RealModule[name].bind(RealModule);

function instantiate(module, imports) {
  return { module, instance: new Instance(module, imports) };
}
Object.defineProperty(WebAssembly, "Module", { value: Module, writable: true, configurable: true });
WebAssembly.compile = async (bytes) => Module(bytes);
WebAssembly.instantiate = async (what, imports) =>
  what instanceof RealModule ? new Instance(what, imports) : instantiate(Module(what), imports);
// Pyodide streams exactly one file, its core, which was compiled when the Worker was loaded.
WebAssembly.instantiateStreaming = async (_response, imports) => instantiate(pyodideWasm, imports);
