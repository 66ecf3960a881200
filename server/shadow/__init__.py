"""Shadow: a share of the reduced requests is asked again with every visual token, and the two answers are compared."""
