// OpenAI's client for JavaScript.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import OpenAI from 'openai'
import { choices, enough, forACall, isSight, key, model, question, ratio, retained, schema, seen, url, user } from './asked.mjs'

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
const tool = { type: 'function', function: { name: 'look', description: 'looks', parameters: schema, strict: true } }

function create(fields) {
  return client.chat.completions.create({ model, messages: seen, max_tokens: 4, temperature: 0, ...fields })
}

test('a chat and its usage', async () => {
  const answer = await create({ keep_ratio: ratio })
  assert.equal(answer.choices[0].message.role, 'assistant')
  assert.equal(answer.usage.prompt_tokens_details.visual_tokens.retained, retained)
})

test('a stream says the same and counts in its last chunk', async () => {
  const whole = await create({ keep_ratio: ratio })
  let said = ''
  let usage
  const stream = await create({ keep_ratio: ratio, stream: true, stream_options: { include_usage: true } })
  for await (const chunk of stream) {
    said += chunk.choices[0]?.delta.content ?? ''
    usage = chunk.usage ?? usage
  }
  assert.equal(said, whole.choices[0].message.content)
  assert.equal(usage.prompt_tokens_details.visual_tokens.retained, retained)
})

test('a response and its stream', async () => {
  const fields = { model, input: question, max_output_tokens: 16, temperature: 0 }
  const answer = await client.responses.create(fields)
  assert.ok(answer.usage.output_tokens <= 16)
  const kinds = []
  for await (const event of await client.responses.create({ ...fields, stream: true })) kinds.push(event.type)
  assert.match(kinds.at(-1), /^response\.(completed|incomplete)$/)
})

test('a tool that is named is called with arguments of its schema', async () => {
  const tool_choice = { type: 'function', function: { name: 'look' } }
  const answer = await create({ messages: user, tools: [tool], tool_choice, max_tokens: forACall })
  const [call] = answer.choices[0].message.tool_calls
  assert.ok(isSight(JSON.parse(call.function.arguments)))
  const turns = [...user, answer.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'a cat' }]
  assert.equal((await create({ messages: turns, tools: [tool] })).choices[0].message.role, 'assistant')
})

test('an answer keeps to a JSON schema', async () => {
  const response_format = { type: 'json_schema', json_schema: { name: 'sight', schema, strict: true } }
  const answer = await create({ response_format, max_tokens: enough })
  assert.ok(isSight(JSON.parse(answer.choices[0].message.content)))
})

test('an answer is one of the choices', async () => {
  const answer = await create({ structured_outputs: { choice: choices }, max_tokens: enough })
  assert.ok(choices.includes(answer.choices[0].message.content))
})

test('a bad request has a class, a code and a param', async () => {
  await assert.rejects(create({ keep_ratio: 1.5 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError)
    assert.deepEqual(
      [error.code, error.param, error.type],
      ['invalid_keep_ratio', 'keep_ratio', 'invalid_request_error'],
    )
    return true
  })
})

test('an unknown model and a wrong key have classes and codes', async () => {
  await assert.rejects(create({ model: 'nobody' }), (error) => {
    return error instanceof OpenAI.NotFoundError && error.code === 'model_not_found'
  })
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 })
  await assert.rejects(stranger.models.list(), (error) => {
    return error instanceof OpenAI.AuthenticationError && error.code === 'invalid_api_key'
  })
})
