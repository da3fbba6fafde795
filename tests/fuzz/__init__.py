"""Everything that parses bytes from outside, fed with what nobody should send: no exception but our own, no unbounded
memory.
"""
