"""What runs inside of each program, under its own Python, 3.7 or newer: needs nothing but that program.

``python -m benchmarks._rivals.inside.PROGRAM MODULE ARGUMENTS…`` is ``python -m MODULE ARGUMENTS…`` with a stamp after
every update, or after every batch that was translated.
"""
