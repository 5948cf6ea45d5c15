"""Results as text and drawings: functions from a result to what a person reads, which the caller prints or writes.

A table is built once (`table.Table`) and rendered for a terminal, as Markdown or as HTML. Units turn pretty here alone.
"""
