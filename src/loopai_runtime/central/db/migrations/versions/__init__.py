"""One file a revision; what a release has brought to users is never edited."""
