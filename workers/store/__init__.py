"""The store: how models' files come to this machine, and what is made of them."""
