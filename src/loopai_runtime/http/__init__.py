"""What the HTTP servers share, whoever answers behind them."""
