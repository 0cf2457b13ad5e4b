// Vercel's AI SDK as it comes: its providers for OpenAI and Azure ask for responses.
import { createAzure } from "@ai-sdk/azure";
import { createOpenAI } from "@ai-sdk/openai";
import { style } from "./ai_sdk.mjs";
import { tell } from "./asked.mjs";

const ofItself = (provider, model) => provider(model);

await tell((base) => ({
  openai: style((apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey }), ofItself),
  azure: style((apiKey) => createAzure({ baseURL: `${base}/openai`, apiKey }), ofItself),
  azure_v1: style((apiKey) => createAzure({ baseURL: `${base}/openai/v1`, apiKey }), ofItself),
}));
