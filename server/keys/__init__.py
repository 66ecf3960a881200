"""API keys: which there are, whose a request is, and how often each may ask."""
