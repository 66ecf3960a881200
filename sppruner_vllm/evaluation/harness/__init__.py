"""What other people's test harnesses need to ask our server: a model class each, registered, with no file to paste."""
