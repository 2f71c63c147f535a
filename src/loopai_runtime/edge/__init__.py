"""The edge: an HTTP server over the tasks of one data directory."""
