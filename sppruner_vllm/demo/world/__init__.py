"""The small world that the demo model knows: scenes, what is in them, and questions with one right answer each."""
