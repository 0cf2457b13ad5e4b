// The npm package `portkey-ai`, telling where its calls are to go: what comes of it, as JSON.
import { Portkey } from "portkey-ai";

const [base, key, mark] = process.argv.slice(2);
const virtualKey = "openai-virtual-key";
const saved = "sample-7g5tr4";
const fallback = {
  strategy: { mode: "fallback" },
  targets: [
    { virtual_key: "default", override_params: { model: "sim-503" } },
    { virtual_key: virtualKey },
  ],
};

const client = (options) => new Portkey({ baseURL: `${base}/v1`, apiKey: key, ...options });

const chat = async (portkey, options) => {
  const messages = [{ role: "user", content: "hello" }];
  const answer = await portkey.chat.completions.create({ model: "gpt-4", messages }, options);
  return { said: answer.choices[0].message.content, headers: answer.getHeaders() };
};

const stream = async (portkey) => {
  const messages = [{ role: "user", content: "hello" }];
  const chunks = await portkey.chat.completions.create({ model: "gpt-4", messages, stream: true });
  let said = "";
  for await (const chunk of chunks) said += chunk.choices[0].delta.content ?? "";
  return said;
};

const failure = async (call) => {
  try {
    await call();
  } catch (error) {
    return { name: error.constructor.name, text: error.message };
  }
  return { name: "no error" };
};

const results = {
  plain: await chat(client()),
  virtual_key: await chat(client({ virtualKey })),
  provider: await chat(client({ provider: `@${virtualKey}` })),
  config: await chat(client({ config: fallback })),
  saved_config: await chat(client({ config: saved })),
  stream: await stream(client({ config: fallback })),
  with_config: await chat(client(), { config: saved }),
  with_trace: await chat(client(), { traceID: `trace-${mark}`, metadata: { _user: mark } }),
  unknown_config_key: await failure(() => chat(client({ config: { custom_host: "http://x" } }))),
  unknown_config: await failure(() => chat(client({ config: "no-such-config" }))),
  unknown_virtual_key: await failure(() => chat(client({ virtualKey: "no-such-resource" }))),
};
console.log("\n" + JSON.stringify(results));
