"""Distributions with torch's interface; gradients flow through ``log_prob``, ``rsample`` and ``entropy``."""

from fastnn.distributions import constraints
from fastnn.distributions.bernoulli import Bernoulli
from fastnn.distributions.categorical import Categorical
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.exponential import Exponential
from fastnn.distributions.independent import Independent
from fastnn.distributions.kl import kl_divergence, register_kl
from fastnn.distributions.normal import Normal
from fastnn.distributions.uniform import Uniform

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Exponential",
    "Independent",
    "Normal",
    "Uniform",
    "constraints",
    "kl_divergence",
    "register_kl",
]
