// Calls the further operations with the npm package `openai` and prints {scenario: result}.
//   node openai_operations.mjs BASE_URL KEY MARK
import OpenAI, { AzureOpenAI, toFile } from "openai";

const [base, key, mark] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const azure = new AzureOpenAI({
  endpoint: base, apiKey: key, apiVersion: "2024-10-21", maxRetries: 0,
});
const sound = () => toFile(Buffer.alloc(40_000), "speech.mp3", { type: "audio/mpeg" });
const picture = () => toFile(Buffer.alloc(500), "picture.png", { type: "image/png" });

const kinds = async (from, model) => {
  const found = [];
  const input = `repeat 30 ${mark} repeat 30`;
  for await (const event of await from.responses.create({ model, input, stream: true }))
    found.push(event.type);
  return found;
};

const stored = async (from) => {
  const made = await from.responses.create({ model: "gpt-4o", input: mark });
  const again = await from.responses.retrieve(made.id);
  const next = await from.responses.create({
    model: "gpt-4o", input: "and", previous_response_id: made.id,
  });
  await from.responses.delete(made.id);
  const gone = await failure(() => from.responses.retrieve(made.id));
  return { text: again.output_text, next: next.previous_response_id === made.id, gone };
};

const failure = async (call) => {
  try {
    await call();
  } catch (error) {
    const { status, code, type, message } = error;
    return { name: error.constructor.name, status, code, type, message };
  }
  return { name: "no error" };
};

const scenarios = {
  stream: () => kinds(client, "gpt-4o"),
  stream_azure: () => kinds(azure, "gpt-4o"),
  stored: () => stored(client),
  stored_azure: () => stored(azure),
  cut: () => failure(() => kinds(client, "sim-cut")),
  stall: () => failure(() => kinds(client, "sim-stall")),
  error: () => failure(() => kinds(client, "sim-miderror")),
  malformed: () => failure(() => kinds(client, "sim-malformed")),
  background: () =>
    failure(() => client.responses.create({ model: "gpt-4o", input: mark, background: true })),
  image: async () => (await client.images.generate({ model: "gpt-image-1", prompt: mark })).data.length,
  edit: async () =>
    (await client.images.edit({ model: "gpt-image-1", prompt: mark, image: await picture() })).data.length,
  speech: async () => {
    const answer = await client.audio.speech.create({
      model: "gpt-4o-mini-tts", voice: "coral", input: mark,
    });
    return Buffer.from(await answer.arrayBuffer()).length;
  },
  speech_cut: () =>
    failure(async () => {
      const answer = await client.audio.speech.create({ model: "sim-cut", voice: "a", input: mark });
      await answer.arrayBuffer();
    }),
  transcription: async () =>
    (await client.audio.transcriptions.create({ model: "whisper-1", file: await sound() })).text,
  transcription_azure: async () =>
    (await azure.audio.transcriptions.create({ model: "gpt-4o-transcribe", file: await sound() })).text,
  transcription_stream: async () => {
    const file = await sound();
    const stream = await client.audio.transcriptions.create({
      model: "gpt-4o-transcribe", file, stream: true,
    });
    let said = "";
    for await (const event of stream) said += event.delta ?? "";
    return said;
  },
};

const results = {};
for (const [name, run] of Object.entries(scenarios)) results[name] = await run();
console.log(JSON.stringify(results));
