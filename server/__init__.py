"""The OpenAI-compatible front: vLLM's own server, plus `keep_ratio` and an account of what was reduced.

`python -m sppruner_server MODEL` starts it. Nothing of vLLM is copied: our routes call vLLM's and complete the answers.
"""
