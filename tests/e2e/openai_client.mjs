// Calls the gateway with the npm package `openai` and prints what its user gets: {scenario: result}.
//   node openai_client.mjs BASE_URL KEY MARK
import OpenAI, { AzureOpenAI } from "openai";

const [base, key, mark] = process.argv.slice(2);
const openai = (apiKey = key, path = "/v1") =>
  new OpenAI({ baseURL: base + path, apiKey, maxRetries: 0 });
const azure = (where) =>
  new AzureOpenAI({ ...where, apiKey: key, apiVersion: "2024-10-21", maxRetries: 0 });
const client = openai();
const ask = (text, members) => ({
  model: "gpt-4o",
  messages: [{ role: "user", content: `${text} ${mark}` }],
  ...members,
});
const weather = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: {} } },
};

const chat = async (from, model = "gpt-4o") => {
  const answer = await from.chat.completions.create(ask("plain", { model }));
  return { content: answer.choices[0].message.content, requestId: answer._request_id };
};

// The documented loop: it dies on an event without a choice.
const loop = async (from) => {
  const stream = await from.chat.completions.create(ask("streamed", { stream: true }));
  let content = "";
  for await (const chunk of stream) content += chunk.choices[0].delta.content ?? "";
  return content;
};

const chunks = async (from, members) => {
  const stream = await from.chat.completions.create(ask("chunks", { stream: true, ...members }));
  const found = [];
  for await (const chunk of stream) found.push({ choices: chunk.choices.length, usage: chunk.usage });
  return found;
};

const vector = async (from, members) => {
  const model = "text-embedding-3-small";
  const answer = await from.embeddings.create({ model, input: mark, dimensions: 32, ...members });
  const numbers = Array.from(answer.data[0].embedding);
  return { size: numbers.length, square: numbers.reduce((sum, value) => sum + value * value, 0) };
};

const tools = async () => {
  const answer = await client.chat.completions.create(ask("get_weather!", { tools: [weather] }));
  return answer.choices[0].message.tool_calls[0].function;
};

const models = async (from) => {
  const found = [];
  for await (const model of from.models.list()) found.push(model.id);
  return { found, one: (await from.models.retrieve("gpt-4o-mini")).id };
};

const abandon = async () => {
  const stream = await client.chat.completions.create(
    ask("abandoned", { model: "sim-drip", stream: true }),
  );
  for await (const chunk of stream) return chunk.choices.length;
};

const failure = (call) => async () => {
  try {
    await call();
  } catch (error) {
    const { status, code, type, param, message } = error;
    const retryAfter = error.headers?.get("retry-after") ?? null;
    return { name: error.constructor.name, status, code, type, param, message, retryAfter };
  }
  return { name: "no error" };
};
const failing = (members, apiKey = key) =>
  failure(() => openai(apiKey).chat.completions.create(ask("failing", members)));
const breaking = (model) =>
  failure(async () => {
    const stream = await client.chat.completions.create(ask("breaking", { model, stream: true }));
    for await (const chunk of stream) void chunk;
  });

const scenarios = {
  chat: () => chat(client),
  chat_at_the_root: () => chat(openai(key, "")),
  chat_api_v1: () => chat(openai(key, "/api/v1")),
  chat_azure_endpoint: () => chat(azure({ endpoint: base })),
  chat_azure_base_url: () => chat(azure({ baseURL: `${base}/api/v1` })),
  stream: () => loop(client),
  stream_at_the_root: () => loop(openai(key, "")),
  stream_usage: () => chunks(client, { stream_options: { include_usage: true } }),
  stream_azure: () => chunks(azure({ endpoint: base })),
  embedding: () => vector(client),
  embedding_float: () => vector(client, { encoding_format: "float" }),
  embedding_azure: () => vector(azure({ endpoint: base })),
  tools,
  models: () => models(client),
  models_azure: () => models(azure({ endpoint: base })),
  abandon,
  unknown_key: failing({}, "no-such-event/anna"),
  malformed_key: failing({}, "hackathon"),
  future_event: failing({}, "future-event/anna"),
  over_event: failing({}, "over-event/anna"),
  off_event: failing({}, "off-event/anna"),
  wrong_model: failing({ model: "gpt-9" }),
  too_many_tokens: failing({ max_tokens: 101 }, "capped-event/anna"),
  wrong_type: failing({ max_tokens: "many" }),
  content_filter: failing({ model: "sim-filter" }),
  rate_limit: failing({ model: "sim-429" }),
  server_error: failing({ model: "sim-500" }),
  bad_gateway: failing({ model: "sim-502" }),
  reset: failing({ model: "sim-reset" }),
  unavailable: failing({ model: "sim-503" }),
  silence: failing({ model: "sim-silence" }),
  cut: breaking("sim-cut"),
  tear: breaking("sim-tear"),
  stall: breaking("sim-stall"),
};

const results = await Promise.all(
  Object.entries(scenarios).map(async ([name, run]) => [
    name,
    await run().catch((error) => ({ failed: String(error.stack) })),
  ]),
);
console.log(JSON.stringify(Object.fromEntries(results)));
