// The page: what is typed and slid becomes requests, and what comes back is shown.

import { Refusal, answer, modelName, ratioBounds, sceneUrl, selectionOf, server } from "./api.js";
import { Panel } from "./panel.js";
import { fromFile, fromServer, pictureIn } from "./picture.js";
import { URL_HERE, snippet } from "./snippets.js";
import { compared } from "./words.js";

const USUAL = [0.222, 1];
const PAUSE = 250; // milliseconds that a slider has to rest before the server is asked

const at = (id) => document.getElementById(id);
const sliders = [at("ratio-a"), at("ratio-b")];
const panels = sliders.map(() => new Panel(at("panel"), at("panels")));
let model = null;
let picture = null;
let language = "curl";
let running = null;
let resting = null;
let taking = 0;

const inUse = () => (at("compare").checked ? panels : panels.slice(0, 1));
const ratio = (number) => Number(sliders[number].value);

function requestOf(panel, number, url = picture.url) {
  const [question, goesOn] = [at("question").value, at("go-on").checked && panel.messages.length > 0];
  const text = { type: "text", text: question };
  const seen = { role: "user", content: [{ type: "image_url", image_url: { url } }, text] };
  const before = goesOn ? panel.messages.map((message, i) => (i ? message : withPicture(message, url))) : [];
  return {
    model,
    messages: goesOn ? [...before, { role: "user", content: question }] : [seen],
    max_tokens: Number(at("longest").value),
    temperature: 0,
    keep_ratio: ratio(number),
    focus_scope: at("scope").value,
  };
}

// The first message of a conversation is the one with the picture.
function withPicture(message, url) {
  return { ...message, content: [{ type: "image_url", image_url: { url } }, ...message.content.slice(1)] };
}

function say(text) {
  at("error").hidden = false;
  at("error").textContent = text;
}

function complain(problem) {
  if (problem?.name === "AbortError") return;
  say(problem instanceof Refusal ? problem.text : `The server cannot be reached: ${problem.message}`);
  if (problem.status === 401) {
    at("key-row").hidden = false;
    at("key").focus();
  }
}

function begin(state) {
  running?.abort();
  running = new AbortController();
  at("error").hidden = true;
  at("ask").disabled = false;
  at("state").textContent = state;
  return running.signal;
}

async function work(state, task) {
  const signal = begin(state);
  at("ask").disabled = task === ask; // a selection gives way to a question
  try {
    await ready();
    await task(signal);
    if (!signal.aborted) at("state").textContent = "Done.";
  } catch (problem) {
    if (signal.aborted) return;
    at("state").textContent = "";
    complain(problem);
  } finally {
    if (running.signal === signal) at("ask").disabled = false;
  }
}

async function ready() {
  if (model) return;
  model = await modelName();
  at("model").textContent = `Model: ${model}.`;
  const [low, high] = await ratioBounds();
  for (const [number, slider] of sliders.entries()) {
    Object.assign(slider, { min: low, max: high, step: 0.001 });
    slider.value = Math.min(high, Math.max(low, USUAL[number]));
  }
  label();
}

// What is kept for the question as it stands, without an answer.
async function look(signal) {
  for (const [number, panel] of inUse().entries()) {
    // A salt of its own: or the answer that follows would find a prompt that was just computed, and not tell its price.
    const salted = { ...requestOf(panel, number), cache_salt: `playground ${Math.random()}` };
    panel.document = await selectionOf(salted, signal);
    panel.showSelection(panel.document);
  }
}

async function ask(signal) {
  const question = at("question").value;
  const requests = inUse().map((panel, number) => requestOf(panel, number));
  await look(signal); // first, so that every panel's picture is encoded by the time its answer is timed
  for (const [number, panel] of inUse().entries()) {
    const request = requests[number];
    if (request.messages.length === 1) panel.forget();
    const { usage, first } = await answer(request, panel.asked(question), signal);
    panel.messages = [...request.messages, { role: "assistant", content: panel.text }];
    panel.tell(figures(usage, first, panel.document));
  }
  if (inUse().length === 2) {
    const parts = compared(panels[0].text, panels[1].text);
    for (const [number, panel] of panels.entries()) panel.mark(parts[number]);
  }
}

function figures(usage, first, document) {
  const details = usage?.prompt_tokens_details ?? {};
  const { original, retained } = details.visual_tokens ?? { original: 0, retained: 0 };
  const [prompt, cached] = [usage?.prompt_tokens ?? 0, details.cached_tokens ?? 0];
  const bytes = (tokens) => `${((tokens * document.kv_bytes_per_token) / 1024).toFixed(0)} KiB`;
  const encoded = { true: "; what the encoder made of the picture", false: "; the picture was encoded" };
  return [
    ["Visual tokens", `${retained} of ${original}`],
    ["Prompt tokens", `${prompt} (${prompt + original - retained} with every visual token)`],
    ["KV cache", `${bytes(prompt)} (${bytes(prompt + original - retained)} with every visual token)`],
    ["First token", `${(first * 1000).toFixed(0)} ms`],
    ["Selection", document.pictures[0]?.seconds == null ? "none" : `${(document.pictures[0].seconds * 1000).toFixed(1)} ms`],
    ["Reused", `${cached} of ${prompt} prompt tokens from the prefix cache${encoded[document.pictures[0]?.encoder_spared] ?? ""}`],
  ];
}

function label() {
  at("shown-a").textContent = ratio(0).toFixed(3);
  at("shown-b").textContent = ratio(1).toFixed(3);
  for (const [number, panel] of panels.entries()) panel.ratio = ratio(number).toFixed(3);
  at("second-ratio").hidden = !at("compare").checked;
  panels[1].element.hidden = !at("compare").checked;
  showSnippet();
}

function showSnippet() {
  for (const tab of document.querySelectorAll("[data-language]")) {
    const chosen = tab.dataset.language === language;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  at("code").setAttribute("aria-labelledby", `tab-${language}`);
  at("code").textContent = model ? snippet(language, server.url, requestOf(panels[0], 0, URL_HERE)) : "";
}

// The server is asked once nothing has changed for a moment.
function lookSoon() {
  label();
  clearTimeout(resting);
  resting = setTimeout(() => picture && at("question").value && work("Selecting…", look), PAUSE);
}

function restart() {
  for (const panel of panels) {
    panel.forget();
    panel.showPicture(picture?.bitmap ?? null);
  }
}

// Of several pictures the one that was given last stays, however long the others take to read.
async function take(coming) {
  const mine = ++taking;
  let next = null;
  try {
    next = await coming;
  } catch (problem) {
    if (mine === taking) complain(problem);
    return;
  }
  if (mine !== taking) return URL.revokeObjectURL(next.shown);
  if (picture) URL.revokeObjectURL(picture.shown);
  picture = next;
  begin(""); // what is still being answered is about the picture before
  at("preview").src = picture.shown;
  at("preview").alt = `The picture: ${picture.name}`;
  at("picture-name").textContent = picture.name;
  restart();
  lookSoon();
}

const takeScene = () => take(fromServer(sceneUrl, "Demo scene"));

for (const id of ["file", "camera"]) {
  at(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) take(fromFile(file));
    event.target.value = "";
  });
}
at("scene").addEventListener("click", takeScene);
for (const name of ["dragover", "dragenter"]) {
  at("drop").addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const file = pictureIn(event.dataTransfer);
  if (file) take(fromFile(file));
  else say("There was no file in what you dropped: save the picture first, or copy and paste it.");
});
// A file that misses the frame would replace the page, and the key and the conversation with it.
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (name === "drop") take(fromFile(pictureIn(event.dataTransfer)));
  });
}
document.addEventListener("paste", (event) => {
  const file = pictureIn(event.clipboardData);
  if (file) take(fromFile(file, "Pasted picture"));
});
for (const slider of sliders) slider.addEventListener("input", lookSoon);
for (const id of ["compare", "scope"]) at(id).addEventListener("change", lookSoon);
for (const id of ["question", "longest", "go-on"]) at(id).addEventListener("input", showSnippet);
at("question").addEventListener("change", lookSoon);
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("form").requestSubmit();
  }
});
at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(resting);
  if (picture) work("Asking…", ask);
});
at("again").addEventListener("click", () => {
  begin("");
  restart();
  lookSoon();
});
at("key").addEventListener("change", () => {
  const key = at("key").value.trim();
  if (/[^!-~]/.test(key)) return say("A key has letters, digits and signs of ASCII alone, and no spaces.");
  server.key = key;
  lookSoon();
});
for (const tab of document.querySelectorAll("[data-language]")) {
  tab.addEventListener("click", () => {
    language = tab.dataset.language;
    showSnippet();
  });
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...document.querySelectorAll("[data-language]")];
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.click();
    next.focus();
  });
}
at("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(at("code").textContent);
    at("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(at("code"));
    at("copied").textContent = "Press Ctrl+C: the text is selected.";
  }
});

takeScene();
