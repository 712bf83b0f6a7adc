// A Worker in JavaScript that behaves like a Python Worker: it hands every event to a new `Default`.
import "./prelude.mjs";
import { boot } from "./boot.mjs";
import { WorkerEntrypoint } from "cloudflare:workers";

let python, failure;
try {
  python = await boot();
} catch (error) {
  failure = error;
}

class Default extends WorkerEntrypoint {
  #deliver(handler, values) {
    if (failure) throw failure;
    return python.deliver(this.ctx, this.env, handler, values);
  }

  static answer(method) {
    this.prototype[method] ??= function (...values) {
      return this.#deliver(method, values);
    };
  }

  fetch(request) {
    if (new URL(request.url).pathname !== "/__boot") return this.#deliver("fetch", [request]);
    if (failure) return new Response(failure.stack ?? String(failure), { status: 500 });
    return Response.json(python.facts);
  }

  // workerd passes three arguments, of which only the first is set.
  queue(...values) {
    return this.#deliver("queue", values);
  }

  scheduled(...values) {
    return this.#deliver("scheduled", values);
  }
}

// What other Workers call through a service binding.
for (const method of python?.methods ?? []) Default.answer(method);

export default Default;
