"""Pages of HTML that are complete in themselves."""
