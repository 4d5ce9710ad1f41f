"""The report: a stream turned into one static page that opens from disk, for people."""

from conformance.report.build import write_report

__all__ = ["write_report"]
