// Calls any method of the service binding, and tells what came back.
export default {
  async fetch(request, env) {
    const { method, values } = await request.json();
    try {
      return Response.json({ value: await env.JOBS[method](...values) });
    } catch (error) {
      const { name, code, message } = error;
      return Response.json({ error: { name, code, message } });
    }
  },
};
