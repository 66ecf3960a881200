"""What runs in an API process of vLLM: the multimodal processor and its plan per image."""
