// Vercel's AI SDK as a client of asked.mjs.
import { embed, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { z } from "zod";
import { WEATHER } from "./asked.mjs";

const City = z.object({ name: z.string(), people: z.int().min(1) });
const { name, description, parameters } = WEATHER.function;
const tools = { [name]: tool({ description, inputSchema: jsonSchema(parameters) }) };

/** A style: `connect(key)` gives the provider, and `chosen(provider, model)` its model. */
export const style = (connect, chosen) => {
  const options = ({ key, model, retries, maxTokens }) => ({
    model: chosen(connect(key), model),
    maxRetries: retries,
    maxOutputTokens: maxTokens,
  });
  return {
    async chat(ask) {
      return (await generateText({ ...options(ask), prompt: ask.text })).text;
    },
    async *stream(ask) {
      const { fullStream } = streamText({ ...options(ask), prompt: ask.text, onError() {} });
      for await (const part of fullStream) {
        if (part.type === "error") throw part.error;
        if (part.type === "text-delta") yield part.text;
      }
    },
    async tool(ask) {
      const { toolCalls } = await generateText({ ...options(ask), prompt: ask.text, tools });
      return [toolCalls[0].toolName, toolCalls[0].input];
    },
    async structured(ask) {
      const output = Output.object({ schema: City, name: "City" });
      return (await generateText({ ...options(ask), prompt: ask.text, output })).output;
    },
    async vision(ask) {
      const content = [
        { type: "text", text: ask.text },
        { type: "file", data: ask.image, mediaType: "image/png" },
      ];
      const messages = [{ role: "user", content }];
      return (await generateText({ ...options(ask), messages })).text;
    },
    async embedding({ key, model, text, retries }) {
      const from = connect(key).embedding(model);
      return (await embed({ model: from, value: text, maxRetries: retries })).embedding;
    },
  };
};
