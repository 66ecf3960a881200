"""What goes wrong, judged and worded: one vocabulary of codes, and whose fault it was.

A refusal is made where a fault is found. What is raised instead is judged by faults.py, and the guard lets no error
leave in other words than ours.
"""
