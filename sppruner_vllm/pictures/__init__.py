"""Pictures as clients send them: judged from their heads, then decoded right or refused. Pillow and NumPy, no vLLM."""
