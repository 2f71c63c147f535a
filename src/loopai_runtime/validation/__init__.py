"""Who knows the right answer, what that costs, and how often it is wrong itself."""
