"""Data to train on: datasets, and batches of them."""

from fastnn.data import datasets, transforms
from fastnn.data.collate import default_collate
from fastnn.data.dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from fastnn.data.images import ImageData, ImageSplits
from fastnn.data.loader import DataLoader
from fastnn.data.tables import Table, TableError, read_csv, table

__all__ = [
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "ImageData",
    "ImageSplits",
    "IterableDataset",
    "Subset",
    "Table",
    "TableError",
    "TensorDataset",
    "datasets",
    "default_collate",
    "random_split",
    "read_csv",
    "table",
    "transforms",
]
