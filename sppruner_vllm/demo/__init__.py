"""The bundled demo: a tiny Qwen2.5-VL that knows one small world, a server around it, and a picture to ask about."""
