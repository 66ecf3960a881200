"""How a server ends: it refuses what is new, finishes what it has, and then stops its engines."""
