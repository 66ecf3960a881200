"""One file per model family: all that is known of it, and nowhere else."""
