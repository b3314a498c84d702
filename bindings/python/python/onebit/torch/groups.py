"""What an optimizer decays."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Set

from torch import nn

from .hyper import one_of
from .nn import _BinaryWeights, _Rectifier, _Threshold

ON = ("convolutions", "reactnet")


def param_groups(module: nn.Module, weight_decay: float, on: str = "convolutions") -> List[Dict[str, Any]]:
    """Two groups for an optimizer: parameters with the L2 penalty ``weight_decay``, and those without.

    As in the Rust trainer, it is on real convolutions: in the stage ``"binary"`` latent weights are not decayed, in others they
    are. With ``on="reactnet"`` it is also on thresholds and shifts, as in ReActNet's published code. Adam adds the penalty to the
    gradient there and here; of two stages the second has none: pass 0 then.

    Args:
        module: A :class:`Network`, a wrapper of one, or any module with layers of ``onebit.torch.nn``.

    Raises ValueError for a decay below 0 or without end, or another ``on``.
    """
    one_of("on", on, ON)
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay is {weight_decay}, expected a number of at least 0")
    binary: Set[int] = set()
    shifts: Set[int] = set()
    for layer in module.modules():
        if isinstance(layer, _BinaryWeights) and layer.stage == "binary":
            binary.add(id(layer.weight))
        elif isinstance(layer, _Threshold):
            shifts.add(id(layer.threshold))
        elif isinstance(layer, _Rectifier):
            shifts.update({id(layer.shift_x), id(layer.shift_y)})
    decayed: List[nn.Parameter] = []
    others: List[nn.Parameter] = []
    for parameter in module.parameters():
        convolution = parameter.dim() == 4 and id(parameter) not in binary
        is_decayed = convolution or (on == "reactnet" and id(parameter) in shifts)
        (decayed if is_decayed else others).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
