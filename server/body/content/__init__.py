"""What a message may hold, in each API: read from the document, since vLLM reads much of it late or not at all."""
