"""`make bench`: what a run costs beyond the frameworks' own work, how it grows, and how it starts."""
