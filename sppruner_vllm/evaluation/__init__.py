"""The proof kit: what a keep ratio costs and saves."""
