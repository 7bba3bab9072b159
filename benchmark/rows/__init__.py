"""The linkers, one module each; what is heavy is imported where it is used."""
