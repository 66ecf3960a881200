"""The server's own description, /openapi.json: what it takes and answers, as narrow as it really is.

FastAPI's would list what vLLM's classes can parse, most of which is then refused, and none of our errors. This one is
written by hand for the API that we stand for. A field that is not in it goes to vLLM as it is; nothing in it that a
schema can say is left to prose. `make conformance` holds the server to it.
"""
