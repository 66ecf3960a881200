"""How the demo model was trained: `make train-demo`."""
