"""Messages and their two encodings; pure, without a socket in sight."""
