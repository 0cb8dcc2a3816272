"""Compares fastnn with PyTorch on the sample calls of PyTorch's own operator, module and optimizer tables."""
