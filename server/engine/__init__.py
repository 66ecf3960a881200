"""Where a request meets the engine: rendered through our gate, taken, watched, and withdrawn or sent again at need.

What stands here wraps methods of vLLM's renderer and engine client. hooks.py alone puts it there.
"""
