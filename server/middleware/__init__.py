"""The server's door: pure ASGI middlewares, one small file each. order.py says which stands where, and why."""
