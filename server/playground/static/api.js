// The server's API, asked as any client asks it. Nothing here knows the page.

// A page that was opened with a password in its address would pass it on.
function without(address) {
  address.username = address.password = "";
  return address;
}

export const server = { url: without(new URL("..", import.meta.url)), key: "" };

export const sceneUrl = without(new URL("scene.png", import.meta.url));

export class Refusal extends Error {
  constructor(status, error, id) {
    super(error.message ?? `the server answered ${status}`);
    this.status = status;
    this.code = error.code ?? "";
    this.param = error.param ?? "";
    this.id = id ?? "";
  }

  // As the API says it.
  get text() {
    const about = [this.code, this.param && `param ${this.param}`, this.status && `status ${this.status}`];
    return `${this.message} (${[...about, this.id && `request ${this.id}`].filter(Boolean).join(", ")})`;
  }
}

async function sent(path, body, signal) {
  const headers = server.key ? { authorization: `Bearer ${server.key}` } : {};
  if (body) headers["content-type"] = "application/json";
  const init = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal, credentials: "omit" };
  const response = await fetch(new URL(path, server.url), init);
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Refusal(response.status, told.error ?? {}, response.headers.get("x-request-id"));
}

export async function modelName() {
  const models = await (await sent("v1/models")).json();
  return models.data[0].id;
}

// Smallest and largest keep ratio that a request may ask for.
export async function ratioBounds() {
  const document = await (await sent("openapi.json")).json();
  const forms = document.components.schemas.ChatRequest.properties.keep_ratio.anyOf;
  const field = forms.find((form) => form.type === "number");
  return [Math.max(field.minimum, 0.01), field.maximum];
}

// Which visual tokens are kept of the pictures of a request.
export async function selectionOf(request, signal) {
  return (await sent("v1/visual-tokens", request, signal)).json();
}

// Streams an answer: `onText` gets each piece. Gives the usage and the seconds until the first piece.
export async function answer(request, onText, signal) {
  const began = performance.now();
  const body = { ...request, stream: true, stream_options: { include_usage: true } };
  const response = await sent("v1/chat/completions", body, signal);
  let usage = null;
  let first = null;
  for await (const event of events(response)) {
    if (event.error) throw new Refusal(0, event.error, response.headers.get("x-request-id"));
    usage = event.usage ?? usage;
    const text = event.choices?.[0]?.delta?.content;
    if (text) {
      first ??= (performance.now() - began) / 1000;
      onText(text);
    }
  }
  return { usage, first: first ?? (performance.now() - began) / 1000 };
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const whole = rest.split("\n\n");
    rest = done ? "" : whole.pop();
    for (const event of whole) {
      const data = event.split("\n").find((line) => line.startsWith("data:"))?.slice(5).trim();
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
    if (done) return;
  }
}
