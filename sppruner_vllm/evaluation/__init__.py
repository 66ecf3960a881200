"""What a keep ratio costs and what it saves."""
