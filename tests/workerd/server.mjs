// node server.mjs OPTIONS.json: runs a Python Worker in workerd on loopback.
//
// Prints one line of JSON, {url, control, bootMs, ...}, once Python has imported the Worker. Stops when its
// standard input closes, so that it never outlives the tests. Everything else goes to standard error.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Log, LogLevel, Miniflare } from "miniflare";
import { bundle, HERE } from "./bundle.mjs";
import { serveControl } from "./control.mjs";

class ErrorLog extends Log {
  log(message) {
    console.error(message);
  }
}

// The Worker prints a mark before each import; everything else that it prints goes to standard error.
const marks = [];
function watch(stream) {
  createInterface({ input: stream }).on("line", (line) => {
    if (line.startsWith("import: ")) marks.push([line.slice("import: ".length), performance.now()]);
    else console.error(line);
  });
}

/** Return how long each import took. */
function importTimes() {
  const taken = marks.slice(0, -1).map(([name, at], i) => [name, Math.round(marks[i + 1][1] - at)]);
  return Object.fromEntries(taken);
}

const options = JSON.parse(readFileSync(process.argv[2], "utf8"));
const began = performance.now();
const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false,
  log: new ErrorLog(LogLevel.WARN),
  handleRuntimeStdio: (out, err) => [out, err].forEach(watch),
  unsafeTriggerHandlers: true,
  d1Persist: options.worker.d1Persist,
  workers: [
    {
      name: "python",
      unsafeEvalBinding: "UNSAFE_EVAL",
      modules: bundle(options),
      modulesRoot: HERE,
      ...options.worker, // compatibilityDate, d1Databases, queueProducers, queueConsumers, bindings
    },
    ...callers(options),
  ],
});

/** Return the Workers in JavaScript that call the Python one through the service binding JOBS. */
function callers({ callers, worker: { compatibilityDate } }) {
  const serviceBindings = { JOBS: "python" };
  return callers.map((own) => ({ modules: true, compatibilityDate, serviceBindings, ...own }));
}

async function start() {
  const url = await miniflare.ready;
  const readyMs = performance.now() - began;
  const answer = await miniflare.dispatchFetch("http://worker/__boot");
  if (!answer.ok) throw new Error(await answer.text());
  const facts = await answer.json();
  const control = await serveControl(miniflare);
  const bootMs = Math.round(performance.now() - began);
  const line = { url: url.href, control, readyMs: Math.round(readyMs), bootMs, importMs: importTimes(), ...facts };
  console.log(JSON.stringify(line));
}

async function stop(code) {
  await miniflare.dispose().catch((error) => console.error(error.message));
  process.exit(code);
}

process.stdin.resume();
process.stdin.on("end", () => stop(0));
start().catch((error) => {
  console.error(error.stack ?? error);
  return stop(1);
});
