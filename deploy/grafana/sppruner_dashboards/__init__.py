"""The Grafana dashboards as a program: queries, panels, layout, and the two dashboards made of them.

The standard library alone, so that the JSON can be made again anywhere. `families` is the exception: it reads the code
that defines the metrics, to prove that every query asks for something that exists.
"""
