"""What a version consists of, as files and as one ZIP, and the store that keeps versions."""
