"""Numbers that kernels and references share; nothing here needs a compiler."""

# Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515: where mean 0 and variance 1 stay as they are.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
