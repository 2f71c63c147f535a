"""What running tasks leave behind: execution logs, and what is computed from them."""
