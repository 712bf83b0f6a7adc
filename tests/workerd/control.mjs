// A small HTTP server on loopback through which tests deliver events that no URL of a Worker delivers.
import { createServer } from "node:http";

const actions = {
  // {queue, messages: [{id, attempts, body, timestamp}]} -> what the consumer decided for each message
  async "/queue"({ worker }, { queue, messages }) {
    const dated = messages.map((message) => ({ ...message, timestamp: new Date(message.timestamp) }));
    return worker.queue(queue, dated);
  },
  // {cron, time} -> the outcome
  async "/scheduled"({ worker }, { cron, time }) {
    return worker.scheduled({ cron, scheduledTime: new Date(time) });
  },
  // {name, path, body} -> what a Worker that calls the Python one answers
  async "/ask"({ miniflare }, { name, path, body }) {
    const caller = await miniflare.getWorker(name);
    const sent = body === null ? {} : { method: "POST", body: JSON.stringify(body) };
    const answer = await caller.fetch(`http://caller${path}`, sent);
    return { status: answer.status, text: await answer.text() };
  },
};

/** Start the server; return its URL. */
export async function serveControl(miniflare) {
  const worker = await miniflare.getWorker();
  const server = createServer(async (request, response) => {
    const reply = (status, value) => response.writeHead(status).end(JSON.stringify(value ?? null));
    try {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      const action = actions[request.url];
      if (!action) return reply(404, { error: `no such action: ${request.url}` });
      reply(200, await action({ miniflare, worker }, JSON.parse(body)));
    } catch (error) {
      reply(500, { error: error.stack ?? String(error) });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}`;
}
