"""Load tests for a chat-completions server: Locust users, a sweep over keep ratios, a check against vLLM's own bench.

Talks HTTP alone and imports nothing of the product, so that it measures any OpenAI-compatible server the same way. One
module knows a command of the product, target.py: without a URL it starts the server that `make serve` starts.
"""
