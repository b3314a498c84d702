"""The loss of a student that learns from a teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy between the softmax of the teacher's logits and that of the student's, mean over the batch: ReActNet's
    distributional loss (4.3). No gradient goes to the teacher.

    Shapes: both [N, classes]; a scalar, at least float32. Raises ValueError for others.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        shapes = f"{list(student.shape)} and {list(teacher.shape)}"
        raise ValueError(f"the logits of student and teacher have the shapes {shapes}, expected [N, classes] of both")
    targets = _not_half(teacher.detach()).softmax(1)
    return F.cross_entropy(_not_half(student), targets)


def _not_half(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
