"""Tokens in, tokens out. Imports common, never api."""
