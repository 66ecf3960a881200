"""How a question is read by a language model before it is compared with a picture: what worker, command and evaluation
have in common. docs/develop/algorithm.md, "The question as the model reads it"."""
