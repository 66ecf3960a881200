"""What a request says about reduction. No vLLM and no torch."""
