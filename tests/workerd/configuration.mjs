// node configuration.mjs FILE: prints what wrangler makes of a wrangler.jsonc, as options for Miniflare.
// What wrangler finds wrong with the file goes to standard error, or ends this with an error.
import { unstable_getMiniflareWorkerOptions, unstable_readConfig } from "wrangler";

const [file] = process.argv.slice(2);
const config = unstable_readConfig({ config: file });
const { workerOptions } = unstable_getMiniflareWorkerOptions(file);
console.log(JSON.stringify({ config, options: workerOptions }));
