"""The restic repository format, version 2, written and read.

Specification: restic's ``doc/design.rst``; what it leaves open follows restic's own ``internal/repository`` and
``internal/data``. Stock ``restic`` is the judge of everything this package writes.
"""
