// Vercel's AI SDK with its providers for OpenAI and Azure, by chat completions.
import { createAzure } from "@ai-sdk/azure";
import { createOpenAI } from "@ai-sdk/openai";
import { embed, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { z } from "zod";
import { API_VERSION, tell, WEATHER } from "./asked.mjs";

const City = z.object({ name: z.string(), people: z.int().min(1) });
const { name, description, parameters } = WEATHER.function;
const tools = { [name]: tool({ description, inputSchema: jsonSchema(parameters) }) };

const style = (connect) => {
  const options = ({ key, model, retries, maxTokens }) => ({
    model: connect(key).chat(model),
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

await tell((base) => ({
  openai: style((apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey })),
  azure: style((apiKey) => createAzure({ baseURL: `${base}/openai`, apiKey })),
  azure_deployment: style((apiKey) =>
    createAzure({
      baseURL: `${base}/openai`,
      apiKey,
      apiVersion: API_VERSION,
      useDeploymentBasedUrls: true,
    }),
  ),
}));
