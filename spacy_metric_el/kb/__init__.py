"""Entities, names and their vectors. Knows FAISS and Arrow; knows nothing of pipelines."""

from .entity import Entity
from .knowledge_base import FaissKnowledgeBase, count_mentions

__all__ = ["Entity", "FaissKnowledgeBase", "count_mentions"]
