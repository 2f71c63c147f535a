"""What the HTTP fronts of edge and platform share."""
