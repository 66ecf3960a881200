"""Prefill of Qwen2.5-VL at several keep ratios, timed on one device without an engine: `make bench-gpu`."""
