"""Everything that parses bytes from outside, fed with what nobody should send: no exception but our own, no unbounded
memory.

Each run draws the same examples. ``LIFEBOAT_TEST_EXAMPLES=5000`` draws so many for each test, others each time.
"""
