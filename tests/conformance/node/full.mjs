// Asks a server that is full. Prints each status, so that whoever holds its places can let go after the first 503.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText } from 'ai'
import OpenAI from 'openai'
import { key, model, question, url, user } from './asked.mjs'

async function told(input, init) {
  const response = await fetch(input, init)
  console.log(response.status, response.headers.has('retry-after') ? 'told when' : '')
  return response
}

const baseURL = `${url}/v1`
if (process.argv[2] === 'openai') {
  const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 5, fetch: told })
  await client.chat.completions.create({ model, messages: user, max_tokens: 1 })
} else {
  const provider = createOpenAICompatible({ name: 'sppruner', baseURL, apiKey: key, fetch: told })
  await generateText({ model: provider(model), prompt: question, maxOutputTokens: 1, maxRetries: 5 })
}
