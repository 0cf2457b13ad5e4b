// Vercel's AI SDK with its providers for OpenAI and Azure, by chat completions.
import { createAzure } from "@ai-sdk/azure";
import { createOpenAI } from "@ai-sdk/openai";
import { style } from "./ai_sdk.mjs";
import { API_VERSION, tell } from "./asked.mjs";

const chat = (provider, model) => provider.chat(model);

await tell((base) => ({
  openai: style((apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey }), chat),
  azure: style((apiKey) => createAzure({ baseURL: `${base}/openai`, apiKey }), chat),
  azure_deployment: style(
    (apiKey) =>
      createAzure({
        baseURL: `${base}/openai`,
        apiKey,
        apiVersion: API_VERSION,
        useDeploymentBasedUrls: true,
      }),
    chat,
  ),
}));
