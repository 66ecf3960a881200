// The request in three languages, to copy. The picture and the key stay where they are.

// A string of a shell, between single quotes.
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

const URL_HERE = "PICTURE_URL";

export function snippet(language, root, request) {
  const endpoint = new URL("v1/chat/completions", root).href;
  return { curl, python, javascript }[language](endpoint, new URL("v1", root).href, request);
}

function curl(endpoint, _, request) {
  return [
    `cat > request.json <<END`,
    JSON.stringify(request, null, 2)
      .replaceAll("\\", "\\\\")
      .replaceAll("$", "\\$")
      .replaceAll("`", "\\`")
      .replace(URL_HERE, "data:image/png;base64,$(base64 -w0 picture.png)"),
    `END`,
    `curl -sN ${quoted(endpoint)} \\`,
    `  -H "Authorization: Bearer $SPPRUNER_API_KEY" -H 'Content-Type: application/json' -d @request.json`,
  ].join("\n");
}

function python(_, base, request) {
  const { model, messages, max_tokens, temperature, ...ours } = request;
  return `import base64, os
from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=os.environ.get("SPPRUNER_API_KEY", "none"))
picture = "data:image/png;base64," + base64.b64encode(open("picture.png", "rb").read()).decode()
answer = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=${JSON.stringify(messages).replace(`"${URL_HERE}"`, "picture")},
    max_tokens=${max_tokens},
    temperature=${temperature},
    extra_body=${JSON.stringify(ours)},
)
print(answer.choices[0].message.content, answer.usage)`;
}

function javascript(_, base, request) {
  return `import { readFileSync } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: process.env.SPPRUNER_API_KEY ?? "none" });
const picture = "data:image/png;base64," + readFileSync("picture.png").toString("base64");
const answer = await client.chat.completions.create(${JSON.stringify(request, null, 2).replace(`"${URL_HERE}"`, "picture")});
console.log(answer.choices[0].message.content, answer.usage);`;
}

export { URL_HERE };
