"""The routes: which are served, what they take, and how their answers are completed and counted."""
