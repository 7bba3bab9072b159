"""From nearest rows to decisions: what speaks for each candidate of a mention, and how much.

Arrays in, arrays out. Knows the records of a knowledge base; knows nothing of
documents, pipelines or encoders.
"""
