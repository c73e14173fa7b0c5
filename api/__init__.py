"""HTTP in, HTTP out. Imports common, never workers."""
