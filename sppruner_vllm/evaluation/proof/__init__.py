"""The proof kit: the standard sets through lmms-eval, at several keep ratios and methods, with paired tests."""
