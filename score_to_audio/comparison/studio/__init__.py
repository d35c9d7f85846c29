"""The studio: a local web page on which scores are played and interpretations compared."""
