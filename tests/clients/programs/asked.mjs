// What a client is asked to do, and how it tells what its user gets: as JSON, in the last line printed.
// A client has the members chat, stream, tool, structured, vision and embedding. Each takes a question:
// {text, model, key, maxTokens, retries, image}; without `retries` the client's default counts.

export const API_VERSION = "2024-10-21";
export const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
    },
  },
};
export const CITY_FORMAT = {
  type: "json_schema",
  json_schema: {
    name: "City",
    strict: true,
    schema: {
      type: "object",
      properties: { name: { type: "string" }, people: { type: "integer" } },
      required: ["name", "people"],
      additionalProperties: false,
    },
  },
};

const QUESTION = {
  text: "hello",
  model: "gpt-4o",
  key: "hackathon/githubuser",
  retries: 0,
  image: "data:image/png;base64," + Buffer.from("\x89PNG not really", "latin1").toString("base64"),
};

/** The members of a chat completion that asks this. */
export const asked = ({ model, text, maxTokens }) => ({
  model,
  messages: [{ role: "user", content: text }],
  ...(maxTokens && { max_tokens: maxTokens }),
});

/** The messages of a question with its image. */
export const withImage = ({ text, image }) => [
  {
    role: "user",
    content: [
      { type: "text", text },
      { type: "image_url", image_url: { url: image } },
    ],
  },
];

/** Ask every style of client that `make` gives for the gateway's address, and print what each gives.
 *  Arguments of the command line: that address, and a name for the attendee whose requests are counted. */
export const tell = async (make) => {
  const [base, name] = process.argv.slice(2);
  const styles = Object.entries(make(base)).map(async ([style, client]) => {
    const calls = Object.entries(scenarios(client, `${name}-${style}`));
    const told = calls.map(async ([scenario, call]) => [scenario, await call()]);
    return [style, Object.fromEntries(await Promise.all(told))];
  });
  console.log("\n" + JSON.stringify(Object.fromEntries(await Promise.all(styles))));
};

const scenarios = (client, attendee) => {
  const ask = (members) => ({ ...QUESTION, ...members });
  const failing = (members) => failure(async () => [await client.chat(ask(members))]);
  return {
    plain: told(() => client.chat(ask({ text: "plain" }))),
    stream: told(() => collected(client.stream(ask({ text: "streamed" })))),
    tools: told(() => client.tool(ask({ text: "How is the weather?" }))),
    structured: told(() => client.structured(ask({ text: "A city?" }))),
    vision: told(() => client.vision(ask({ text: "Seen?" }))),
    embedding: told(() => client.embedding(ask({ model: "text-embedding-3-small" }))),
    wrong_key: failing({ key: "no-such-event/anna" }),
    closed_event: failing({ key: "over-event/anna" }),
    wrong_model: failing({ model: "gpt-9" }),
    bad_request: failing({ key: "capped-event/anna", maxTokens: 101 }),
    filtered: failing({ model: "sim-filter" }),
    used_up: failing({ key: `used-up-event/${attendee}`, retries: undefined }),
    server_error: failing({ model: "sim-500" }),
    unavailable: failing({ model: "sim-503" }),
    broken_stream: failure(() => client.stream(ask({ model: "sim-cut" }))),
  };
};

const collected = async (pieces) => {
  const found = [];
  for await (const piece of pieces) found.push(piece);
  return found;
};

const told = (call) => async () => {
  try {
    return await call();
  } catch (error) {
    return { failed: String(error.stack) };
  }
};

// What a call throws, and what was received before.
const failure = (call) => async () => {
  let received = "";
  try {
    for await (const piece of await call()) received += piece;
  } catch (error) {
    const cause = error.lastError ?? error;
    return {
      classes: [...lineage(error), ...lineage(cause)],
      status: cause.status ?? cause.statusCode ?? null,
      text: String(cause.message),
      received,
    };
  }
  return { classes: [], received };
};

const lineage = (error) => {
  const names = error.name === "Error" ? [] : [error.name];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) names.push(kind.name);
  return names;
};
