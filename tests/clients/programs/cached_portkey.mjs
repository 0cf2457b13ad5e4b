// The npm package `portkey-ai`, asking for a cache: what the answers say of it, as JSON.
import { Portkey } from "portkey-ai";

const [base, key, name] = process.argv.slice(2);
const config = { cache: { mode: "simple", max_age: 60 } };

// The cache's status of one and the same call.
const status = async (options) => {
  const client = new Portkey({ baseURL: `${base}/v1`, apiKey: key, ...options });
  const messages = [{ role: "user", content: `cached for ${name}` }];
  const answer = await client.chat.completions.create({ model: "gpt-4o", messages });
  return answer.getHeaders()["cache-status"] ?? null;
};

const results = {
  first: await status({ config }),
  again: await status({ config }),
  refreshed: await status({ config, cacheForceRefresh: true }),
  without: await status({ metadata: { _user: "john" } }),
};
console.log("\n" + JSON.stringify(results));
