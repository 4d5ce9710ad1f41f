"""`make scale`: how loading, running, merging and comparing grow to a million cases, without a framework."""
