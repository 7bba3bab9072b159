"""The published method, Le & Nguyen 2023, from its description."""

from .row import PublishedRow

__all__ = ["PublishedRow"]
