"""The platform's database: its tables, and the one way to them."""
