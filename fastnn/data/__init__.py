"""Data to train on: datasets, and batches of them."""

from fastnn.data import datasets
from fastnn.data.images import ImageData, ImageSplits
from fastnn.data.loader import DataLoader, TensorDataset

__all__ = ["DataLoader", "ImageData", "ImageSplits", "TensorDataset", "datasets"]
