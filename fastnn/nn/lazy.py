"""Modules whose sizes the first input tells."""

from __future__ import annotations

from typing import Any

from fastnn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, NormBase, counter
from fastnn.nn.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy


class LazyModuleMixin(Module):
    """A module that makes its parameters when it first runs, and then becomes one of `cls_to_become`.

    A subclass registers `UninitializedParameter`s and defines ``initialize_parameters``, which gets the arguments of
    the first call and materializes them.
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # kept as a part of the module, so that copies carry it
        self._infer_handle = self.register_forward_pre_hook(infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize the parameters for such arguments; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no initialize_parameters")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of this module has no shape yet."""
        return any(is_lazy(member) for member in (*self._parameters.values(), *self._buffers.values()))


def infer_parameters(module: LazyModuleMixin, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The hook before the first forward."""
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        raise RuntimeError(f"{type(module).__name__}: initialize_parameters left parameters without a shape")
    module._forward_pre_hooks.pop(module._infer_handle.id, None)
    del module._infer_handle
    module._look_at_hooks()
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become  # type: ignore[assignment]


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` whose ``in_features`` is the last extent of the first input.

    Parameters
    ----------
    out_features : size of the output's last axis.
    bias : whether to add one.
    dtype : float32 (default) or float64.
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False, device, dtype)
        self.weight = UninitializedParameter(dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once there are some."""
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Any) -> None:
        """Take the size from an input."""
        if self.has_uninitialized_params():
            self.in_features = int(input.shape[-1])
            for parameter, shape in (
                (self.weight, (self.out_features, self.in_features)),
                (self.bias, (self.out_features,)),
            ):
                if isinstance(parameter, UninitializedParameter):
                    parameter.materialize(shape, transposed=len(shape) == 2)
            Linear.reset_parameters(self)
        elif not self.in_features:  # a state dict came first
            self.in_features = int(input.shape[-1])


class LazyNorm(LazyModuleMixin, NormBase):
    """What lazy batch and instance normalisation share: ``num_features`` is the first input's number of channels."""

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if self.affine:
            self.weight = UninitializedParameter(dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(dtype=dtype)
        if self.track_running_stats:
            self.running_mean = UninitializedBuffer(dtype=dtype)
            self.running_var = UninitializedBuffer(dtype=dtype)
            self.num_batches_tracked = counter()

    def reset_parameters(self) -> None:
        """Begin anew, once there is something."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Any) -> None:
        """Take the number of channels from an input."""
        missing = self.has_uninitialized_params()
        self.num_features = self.num_features or int(input.shape[self.channel_axis(len(input.shape))])
        for member in (self.weight, self.bias, self.running_mean, self.running_var):
            if isinstance(member, (UninitializedParameter, UninitializedBuffer)):
                member.materialize((self.num_features,))
        if missing:
            NormBase.reset_parameters(self)


class LazyBatchNorm1d(LazyNorm, BatchNorm1d):
    """A `BatchNorm1d` whose ``num_features`` the first input tells."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(LazyNorm, BatchNorm2d):
    """A `BatchNorm2d` whose ``num_features`` the first input tells."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(LazyNorm, BatchNorm3d):
    """A `BatchNorm3d` whose ``num_features`` the first input tells."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(LazyNorm, InstanceNorm1d):
    """An `InstanceNorm1d` whose ``num_features`` the first input tells."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(LazyNorm, InstanceNorm2d):
    """An `InstanceNorm2d` whose ``num_features`` the first input tells."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(LazyNorm, InstanceNorm3d):
    """An `InstanceNorm3d` whose ``num_features`` the first input tells."""

    cls_to_become = InstanceNorm3d


__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "LazyModuleMixin",
]
