"""What runs in a worker of vLLM: encode, select, place."""
