"""The steps of the method `focus_context`, one a file; methods/focus_context.py puts them together."""
