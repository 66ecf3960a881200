"""The body of a request, read strictly before its route reads it."""
