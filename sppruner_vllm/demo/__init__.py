"""The bundled demo: a tiny Qwen2.5-VL made on the spot, a server around it, and one photograph to ask about."""
