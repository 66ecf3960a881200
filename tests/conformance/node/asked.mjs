// What both clients ask, and the address of the server: from the environment of the test that started node.

export const url = process.env.ENDPOINT_URL
export const model = process.env.ENDPOINT_MODEL
export const key = process.env.ENDPOINT_KEY
export const picture = process.env.PICTURE

export const ratio = 0.25
export const retained = 16
export const question = 'what is this'
export const choices = ['cat', 'dog']
export const enough = 64
export const forACall = 400
export const schema = {
  type: 'object',
  properties: { seen: { type: 'string', enum: choices }, sure: { type: 'boolean' } },
  required: ['seen', 'sure'],
  additionalProperties: false,
}
export const user = [{ role: 'user', content: question }]
export const seen = [
  {
    role: 'user',
    content: [
      { type: 'image_url', image_url: { url: picture } },
      { type: 'text', text: question },
    ],
  },
]

export function isSight(document) {
  return (
    Object.keys(document).sort().join() === 'seen,sure' &&
    choices.includes(document.seen) &&
    typeof document.sure === 'boolean'
  )
}
