"""Linkers measured on the same knowledge base and the same gold mentions."""
