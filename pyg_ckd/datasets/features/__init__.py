"""Features of texts, pictures and vectors."""
