"""What runs in the engine core: the scheduler counts what the vision encoder really does."""
