// The npm package `openai`, in both of its styles.
import OpenAI, { AzureOpenAI } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { API_VERSION, asked, tell, WEATHER, withImage } from "./asked.mjs";

const City = z.object({ name: z.string(), people: z.int().min(1) });

const style = (connect) => ({
  async chat(ask) {
    const answer = await connect(ask).chat.completions.create(asked(ask));
    return answer.choices[0].message.content;
  },
  async *stream(ask) {
    const stream = await connect(ask).chat.completions.create({ ...asked(ask), stream: true });
    for await (const chunk of stream) yield chunk.choices[0]?.delta.content ?? "";
  },
  async tool(ask) {
    const answer = await connect(ask).chat.completions.create({ ...asked(ask), tools: [WEATHER] });
    const [call] = answer.choices[0].message.tool_calls;
    return [call.function.name, JSON.parse(call.function.arguments)];
  },
  async structured(ask) {
    const response_format = zodResponseFormat(City, "City");
    const answer = await connect(ask).chat.completions.parse({ ...asked(ask), response_format });
    return answer.choices[0].message.parsed;
  },
  async vision(ask) {
    const messages = withImage(ask);
    const answer = await connect(ask).chat.completions.create({ ...asked(ask), messages });
    return answer.choices[0].message.content;
  },
  async embedding(ask) {
    const answer = await connect(ask).embeddings.create({ model: ask.model, input: ask.text });
    return Array.from(answer.data[0].embedding);
  },
});

await tell((base) => ({
  openai: style(
    ({ key, retries }) => new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: retries }),
  ),
  azure: style(
    ({ key, retries }) =>
      new AzureOpenAI({ endpoint: base, apiKey: key, apiVersion: API_VERSION, maxRetries: retries }),
  ),
}));
