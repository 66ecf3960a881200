"""vLLM model classes that reduce, one small module per architecture family."""
