"""Distances and directions, see `fastnn.functions.distances`."""

from __future__ import annotations

from fastnn.functions.distances import cosine_similarity, normalize, pairwise_distance, pdist

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]
