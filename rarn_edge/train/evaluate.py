"""Answers of a torch model on whole sets of faces: test figures while training, and the head of a parity chain."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import Preprocess
from rarn_edge.data import Faces
from rarn_edge.data.stream import Images, batch_for, batches
from rarn_edge.models.count import device_of

BATCH = 256
BATCH_PIXELS = 32 * 224 * 224


@torch.no_grad()
def torch_logits(model: nn.Module, preprocess: Preprocess, images: Images) -> NDArray[np.float32]:
    """Pictures [N, H, W] or [N, H, W, 3] uint8 -> logits [N, classes] of `model`, which is in evaluation mode."""
    device = device_of(model)
    size = batch_for(preprocess, BATCH, BATCH_PIXELS)
    inputs = (torch.from_numpy(to_input(batch, preprocess)).to(device) for batch in batches(images, size))
    return np.concatenate([model(batch).float().cpu().numpy() for batch in inputs])


def evaluate_torch(model: nn.Module, preprocess: Preprocess, faces: Faces) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of `model` (in evaluation mode) on labelled faces; of several heads, the first's."""
    logits = torch.from_numpy(torch_logits(model, preprocess, faces.images))[:, : len(faces.classes)]
    labels = torch.from_numpy(faces.labels)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()
