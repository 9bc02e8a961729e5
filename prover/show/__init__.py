"""Searches as people look at them: proofs with the states between, open branches, commands that print them."""
