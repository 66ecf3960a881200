"""Code that checkpoints bring."""
