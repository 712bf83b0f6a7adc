export default {
  async fetch(request, env) {
    try {
      if (request.method === "POST") {
        const options = { delay: 60, dedupe_key: request.headers.get("Idempotency-Key"), tags: ["shop"] };
        return Response.json(await env.JOBS.create("mail", await request.json(), options), { status: 202 });
      }
      const status = await env.JOBS.status(new URL(request.url).pathname.slice(1));
      if (status === null) return new Response("no such run", { status: 404 });
      return Response.json({ state: status.state, result: status.result });
    } catch (error) {
      if (error.code !== "invalid_argument") throw error;
      return Response.json({ error: error.name, message: error.message }, { status: 400 });
    }
  },
};
