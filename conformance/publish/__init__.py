"""What a run says to machines and places that are no report: a step summary, JUnit, annotations, badges.

Every module is a pure function of a run's facts: the same facts give the same bytes.
"""
