"""`make demo` and `make serve`, and how the demo model was made: its parts, the world it knows, its training.

`world/` and `training/` are in a checkout only, not in the wheel.
"""
