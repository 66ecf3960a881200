"""Which vLLM this runs under: versions, names that have moved, and what the plugin rebinds in every process.

With server/hooks.py, which has what the server rebinds in its own process, the only place that knows. Each shim says
what it works around and when to delete it; tests/plugin/test_compat.py fails once one is not needed.
"""
