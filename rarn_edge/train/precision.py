"""What training computes in."""

from enum import StrEnum

import torch

from rarn_edge.errors import InputError


class TrainingPrecision(StrEnum):
    """What activations and their gradients are; parameters and their gradients, averages, statistics, the loss and what is
    measured on test faces are float32 in both."""

    FLOAT32 = "float32"
    BF16 = "bf16"  # torch.autocast

    @classmethod
    def named(cls, name: str) -> "TrainingPrecision":
        """Raises InputError for another name."""
        try:
            return cls(name)
        except ValueError:
            raise InputError(f"no precision '{name}'; one of: {', '.join(cls)}") from None

    @classmethod
    def asked(cls, name: str | None, device: str) -> "TrainingPrecision":
        """The named one, or the usual one of the device."""
        return cls.usual_on(device) if name is None else cls.named(name)

    @classmethod
    def usual_on(cls, device: str) -> "TrainingPrecision":
        """bfloat16 on a GPU; float32 on a CPU, where bfloat16 may be emulated and depthwise convolutions are slower in it."""
        return cls.BF16 if device == "cuda" else cls.FLOAT32

    def autocast(self, device: str) -> torch.autocast:
        """The context in which forward passes have this precision."""
        return torch.autocast(device, torch.bfloat16, enabled=self is TrainingPrecision.BF16)
