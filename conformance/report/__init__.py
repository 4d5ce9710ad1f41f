"""The report: a run turned into a static site that opens from disk, for people."""
