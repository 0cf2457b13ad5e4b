// Asks the same with the npm package `openai`, plainly and streamed, and prints what its user gets each time.
//   node cache_client.mjs BASE_URL KEY MARK
import OpenAI from "openai";

const [base, apiKey, mark] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
const tool = (name) => ({
  type: "function",
  function: { name, parameters: { type: "object", properties: { city: { type: "string" } } } },
});
const bodies = {
  text: { messages: [{ role: "user", content: `text ${mark}` }] },
  choices: { messages: [{ role: "user", content: `choices ${mark}` }], n: 2 },
  tools: {
    messages: [{ role: "user", content: `get_weather, get_time ${mark}` }],
    tools: [tool("get_weather"), tool("get_time")],
  },
};
const told = (completion) => ({
  choices: completion.choices.map(({ message, finish_reason }) => ({
    content: message.content,
    calls: (message.tool_calls ?? []).map((call) => [
      call.id,
      call.type,
      call.function.name,
      call.function.arguments,
    ]),
    finish_reason,
  })),
  usage: completion.usage,
});

const plain = async (body) => {
  const { data, response } = await client.chat.completions
    .create({ model: "gpt-4o", ...body })
    .withResponse();
  return { ...told(data), cache: response.headers.get("x-portkey-cache-status") };
};
const streamed = async (body) => {
  const stream_options = { include_usage: true };
  const runner = client.chat.completions.stream({ model: "gpt-4o", ...body, stream_options });
  return told(await runner.finalChatCompletion());
};

const results = {};
for (const [name, body] of Object.entries(bodies)) {
  // Each form comes first for one of two questions, and is then answered by what the other has left.
  results[name] = { plain: await plain(body), streamed: await streamed(body) };
  const other = { ...body, temperature: 0.5 };
  results[`${name}_streamed_first`] = { streamed: await streamed(other), plain: await plain(other) };
}
console.log(JSON.stringify(results));
