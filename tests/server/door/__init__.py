"""The door of the server: one that has keys, ids, limits and time limits, these low."""
