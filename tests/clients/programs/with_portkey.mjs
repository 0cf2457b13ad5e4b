// The npm package `portkey-ai`, with a key and no more.
import { Portkey } from "portkey-ai";
import { asked, CITY_FORMAT, tell, WEATHER, withImage } from "./asked.mjs";

await tell((base) => {
  const connect = ({ key }) => new Portkey({ baseURL: `${base}/v1`, apiKey: key });
  const create = (ask, members) =>
    connect(ask).chat.completions.create({ ...asked(ask), ...members });
  const key = {
    async chat(ask) {
      return (await create(ask)).choices[0].message.content;
    },
    async *stream(ask) {
      const stream = await create(ask, { stream: true });
      for await (const chunk of stream) yield chunk.choices[0].delta.content ?? "";
    },
    async tool(ask) {
      const [call] = (await create(ask, { tools: [WEATHER] })).choices[0].message.tool_calls;
      return [call.function.name, JSON.parse(call.function.arguments)];
    },
    async structured(ask) {
      const answer = await create(ask, { response_format: CITY_FORMAT });
      return JSON.parse(answer.choices[0].message.content);
    },
    async vision(ask) {
      return (await create(ask, { messages: withImage(ask) })).choices[0].message.content;
    },
    async embedding(ask) {
      const answer = await connect(ask).embeddings.create({ model: ask.model, input: ask.text });
      return answer.data[0].embedding;
    },
  };
  return { key };
});
