"""The vocabulary that API and workers share; imports neither."""
