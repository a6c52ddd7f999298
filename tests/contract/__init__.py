"""What must be true of the whole tree: rules that list violations, each tried on content that breaks it."""
