"""`make bench`: what a keep ratio saves in vLLM, beside what arithmetic allows. docs/use/performance.md.

Every figure is a ratio to stock vLLM within one interleaved run: engines of all arms are alive together, one works
while the others wait, and each round asks every arm in turn.
"""
