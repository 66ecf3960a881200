"""Bodies of requests to Anthropic's endpoints."""

from __future__ import annotations

from serving import MODEL_NAME


def count_body(*urls: str, text: str = "what is this", **fields: object) -> dict[str, object]:
    """A message with PNG images, given as `data:` URLs, before a text."""
    content: list[dict[str, object]] = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}}
        for url in urls
    ]
    content.append({"type": "text", "text": text})
    return {"model": MODEL_NAME, "messages": [{"role": "user", "content": content}], **fields}


def messages_body(*urls: str, text: str = "what is this", **fields: object) -> dict[str, object]:
    """The same, to be answered."""
    return count_body(*urls, text=text, **{"max_tokens": 3, **fields})
