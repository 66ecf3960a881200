// Vercel's AI SDK, by its provider for OpenAI-compatible servers.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, Output, generateText, streamText, tool } from 'ai'
import { z } from 'zod'
import { choices, enough, forACall, key, model, picture, question, ratio, url } from './asked.mjs'

function chat(fields = {}, apiKey = key) {
  const transformRequestBody = (body) => ({ ...body, ...fields })
  const provider = createOpenAICompatible({
    name: 'sppruner',
    baseURL: `${url}/v1`,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
    transformRequestBody,
  })
  return { model: provider(model), maxRetries: 0, temperature: 0 }
}

const seen = {
  messages: [
    {
      role: 'user',
      content: [
        { type: 'image', image: picture },
        { type: 'text', text: question },
      ],
    },
  ],
}
const sight = z.object({ seen: z.enum(choices), sure: z.boolean() })

test('a chat and its usage', async () => {
  const whole = await generateText({ ...chat(), ...seen, maxOutputTokens: 4 })
  const less = await generateText({ ...chat({ keep_ratio: ratio }), ...seen, maxOutputTokens: 4 })
  assert.equal(whole.usage.inputTokens - less.usage.inputTokens, 64 - 16)
})

test('a stream says the same and counts', async () => {
  const whole = await generateText({ ...chat({ keep_ratio: ratio }), ...seen, maxOutputTokens: 4 })
  const stream = streamText({ ...chat({ keep_ratio: ratio }), ...seen, maxOutputTokens: 4 })
  let said = ''
  for await (const piece of stream.textStream) said += piece
  assert.equal(said, whole.text)
  assert.equal((await stream.usage).inputTokens, whole.usage.inputTokens)
})

test('a required tool is called with input of its schema', async () => {
  const tools = { look: tool({ description: 'looks', inputSchema: sight, strict: true }) }
  const answer = await generateText({
    ...chat(),
    prompt: question,
    tools,
    toolChoice: { type: 'tool', toolName: 'look' },
    maxOutputTokens: forACall,
  })
  assert.equal(answer.toolCalls.length, 1)
  assert.ok(sight.safeParse(answer.toolCalls[0].input).success)
})

test('an answer keeps to a schema', async () => {
  const output = Output.object({ schema: sight, name: 'sight' })
  const answer = await generateText({ ...chat(), prompt: question, output, maxOutputTokens: enough })
  assert.ok(sight.safeParse(answer.output).success)
})

test('an answer is one of the choices', async () => {
  const fields = { structured_outputs: { choice: choices } }
  const answer = await generateText({ ...chat(fields), prompt: question, maxOutputTokens: enough })
  assert.ok(choices.includes(answer.text))
})

test('a bad request and a wrong key have a class, a status and the body', async () => {
  await assert.rejects(generateText({ ...chat({ keep_ratio: 1.5 }), prompt: question }), (error) => {
    assert.ok(APICallError.isInstance(error))
    assert.equal(error.statusCode, 400)
    assert.equal(error.isRetryable, false)
    assert.equal(error.data.error.code, 'invalid_keep_ratio')
    assert.equal(error.data.error.param, 'keep_ratio')
    return true
  })
  await assert.rejects(generateText({ ...chat({}, 'wrong'), prompt: question }), (error) => {
    return APICallError.isInstance(error) && error.statusCode === 401
  })
})
