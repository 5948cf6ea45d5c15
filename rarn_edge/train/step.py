"""One batch: faces drawn, changed, answered, learnt from, averaged. One GPU records it once and replays it (CUDA graphs).

A small network's kernels, several hundred a batch, take longer to launch than to run. So nothing here asks the device for a
value: what differs between batches lies on it before the epoch begins (`EpochPlan`), and losses are summed there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import Preprocess
from rarn_edge.data.stream import Streamed
from rarn_edge.train.augment import augment
from rarn_edge.train.distill import softened
from rarn_edge.train.loss import Targets, loss_of, mix, targets_of
from rarn_edge.train.plan import EpochPlan
from rarn_edge.train.quantization_aware import Finish
from rarn_edge.train.run import Run
from rarn_edge.train.workers import ALONE, Workers, placed

MEASURED_FACES, MEASURED_AT_ONCE = 512, 64  # to find the ranges of activations on, as `export/build_release.py` does
WARM_UP = 3  # batches before one is recorded: the optimizer's buffers and the libraries' workspaces are made in them


@dataclass(frozen=True)
class Learner:
    """What training changes: `model`; `forward`, the same or wrapped for several workers; its average; the optimizer."""

    model: nn.Module
    forward: nn.Module
    averaged: nn.Module
    optimizer: torch.optim.Optimizer


class BatchStep:
    """Calls learn from a plan's batches one after the other; the faces and their targets lie on the worker's device."""

    def __init__(self, run: Run, preprocess: Preprocess, learner: Learner, workers: Workers = ALONE) -> None:
        self.device = device = workers.device
        self._run, self._learner, self._recipe, self._precision = run, learner, run.recipe, run.precision
        images = run.train.images
        if run.drawn is not None:
            images = np.concatenate([run.train.pixels, run.drawn.pixels])
        # [faces, H, W] or [faces, H, W, 3] uint8 on the device, or decoded ahead where they are too many for memory
        self._images = images if isinstance(images, Streamed) else torch.from_numpy(images).to(device)
        self._ahead: Iterator[NDArray[np.uint8]] = iter(())
        self._targets = targets_of(run).to(device)  # [faces, outputs]
        first = self._targets.labels[:, : run.heads[0]]
        self._labels = torch.where(first.any(dim=1), first.argmax(dim=1), -1)  # [faces] int64, of the first head
        self._teachers = [placed(teacher.model(), device).requires_grad_(False) for teacher in run.live]
        self._turned = preprocess.color == "bgr"
        self._side_px = (preprocess.height_px, preprocess.width_px)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (preprocess.mean, preprocess.std)
        )
        self._finish: Finish | None = None
        if run.recipe.rounded_for is not None:
            sample = run.train.balanced_sample(MEASURED_FACES, seed=0).in_memory().pixels
            parts = [sample[start : start + MEASURED_AT_ONCE] for start in range(0, len(sample), MEASURED_AT_ONCE)]
            shown = [torch.from_numpy(to_input(part, preprocess)).to(device) for part in parts]
            self._finish = Finish(learner.model, learner.averaged, shown, run.recipe.rounded_for)
        self._forward = learner.forward if self._finish is None else self._finish.rounded
        self._average = _Average(learner.averaged, learner.model)
        self._generator = torch.Generator(device)
        self._rates: list[
            tuple[Tensor, float]
        ] = []  # on the device, where a recorded batch reads them; and their share
        for group in learner.optimizer.param_groups:
            group["lr"] = torch.zeros((), device=device)
            self._rates.append((group["lr"], group["share"]))
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)  # of losses, of right answers
        self._position = torch.zeros(1, dtype=torch.int64, device=device)  # in the plan
        self._plan: EpochPlan | None = None
        self._crop_px = 0
        in_memory = isinstance(self._images, Tensor)  # a recorded batch reads its images there
        self._records = device.type == "cuda" and self._forward is learner.model and in_memory
        self._warmed_up = 0
        self._recorded: torch.cuda.CUDAGraph | None = None

    def begin(self, plan: EpochPlan, augmentation_seed: int, crop_px: int) -> None:
        """Go to the start of an epoch."""
        if self._plan is None:
            self._plan = plan.to(self.device)
        else:
            self._plan.copy_from(plan)
        if crop_px != self._crop_px:
            self._crop_px, self._warmed_up, self._recorded = crop_px, 0, None
        if self._finish is not None:
            self._finish.measure()
        if isinstance(self._images, Streamed):
            names = self._images.names
            order = tuple(names[index] for index in plan.chosen.flatten().tolist())
            self._ahead = replace(self._images, names=order).batches(plan.chosen.shape[1])
        self._generator.manual_seed(augmentation_seed)
        self._sums.zero_()
        self._position.zero_()

    def sums(self) -> tuple[float, int]:
        """Sum of the losses and number of right answers since the epoch began; waits for the device."""
        loss, correct = self._sums.tolist()
        return loss, int(correct)

    def finished(self) -> nn.Module:
        """The averaged network, in evaluation mode; with the weights of its INT8 file where it is trained for one."""
        return self._learner.averaged if self._finish is None else self._finish.finished()

    def __call__(self) -> None:
        """Learn from the plan's next batch."""
        if not self._records:
            self._learn()
        elif self._warmed_up < WARM_UP:
            self._warmed_up += 1
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own stub lacks it
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._learn()
            torch.cuda.current_stream().wait_stream(side)
        else:
            if self._recorded is None:
                graph = torch.cuda.CUDAGraph()
                graph.register_generator_state(self._generator)
                # Not on the stream that torch records everything on: two networks may run side by side in one process.
                with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # type: ignore[no-untyped-call]
                    self._learn()
                self._recorded = graph
            self._recorded.replay()

    def _learn(self) -> None:
        assert self._plan is not None
        learner, recipe, plan = self._learner, self._recipe, self._plan
        chosen, partners = (rows.index_select(0, self._position)[0] for rows in (plan.chosen, plan.partners))  # [N]
        share, rate, weight = (
            values.index_select(0, self._position)[0]
            for values in (plan.mixed_shares, plan.learning_rates, plan.average_weights)
        )
        images = self._images[chosen] if isinstance(self._images, Tensor) else self._next()
        pixels = augment(images, recipe.augmentation, self._generator, self._crop_px)  # [N, C, H, W]
        targets = self._targets.at(chosen)
        if recipe.mixup:
            pixels, targets = mix(pixels, targets, share, partners)
        inputs = self._normalised(pixels)
        if self._teachers:
            targets = self._taught(targets, inputs, chosen, partners)
        with self._precision.autocast(self.device.type):
            logits = self._forward(inputs)  # [N, outputs]
        logits = logits.float()
        loss = loss_of(logits, targets, self._run)
        learner.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own stub lacks it
        for own, part in self._rates:
            own.copy_(rate * part)
        learner.optimizer.step()
        self._average.update(weight if recipe.ema_decay else None)
        right = (logits[:, : self._run.heads[0]].argmax(1) == self._labels[chosen]).sum()
        self._sums += torch.stack((loss.detach().double() * len(chosen), right.double()))
        self._position += 1

    def _next(self) -> Tensor:
        """The plan's next images, decoded."""
        return torch.from_numpy(next(self._ahead)).to(self.device)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Augmented pixels [N, 1 or C, H, W] float32 -> network input [N, C, side, side]; as `preprocess.to_input` does.

        Crops keep their side.
        """
        size = (self._crop_px, self._crop_px) if self._crop_px else self._side_px
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        if self._turned:
            pixels = pixels.flip(1)  # the network takes blue, green, red
        return ((pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    def _taught(self, targets: Targets, inputs: Tensor, chosen: Tensor, partners: Tensor) -> Targets:
        """The targets with what live teachers say; of drawn faces, which teachers do not know, what was drawn."""
        answers = self._answers(inputs)
        if self._run.drawn is not None:
            drawn = chosen >= len(self._run.train)  # [N] bool
            if self._recipe.mixup:
                drawn = drawn | drawn[partners]
            answers = torch.where(drawn[:, None], targets.labels, answers)
        return replace(targets, teacher=answers)

    @torch.no_grad()
    def _answers(self, inputs: Tensor) -> Tensor:
        """What the teachers say of the very inputs the model sees, averaged and softened: [N, outputs]."""
        with self._precision.autocast(self.device.type):
            logits = [teacher(inputs).float() for teacher in self._teachers]
        heads = self._run.heads
        mean = torch.stack([softened(answer, 1.0, heads) for answer in logits]).mean(0)
        return softened(mean.log(), self._recipe.teacher_temperature, heads)


class _Average:
    """The exponential moving average of a model's parameters and statistics; both change in place, so each is found once."""

    def __init__(self, averaged: nn.Module, model: nn.Module) -> None:
        both = zip(averaged.state_dict().values(), model.state_dict().values(), strict=True)
        # a parameter that two layers share has two names and is averaged once
        pairs = list({(mean.data_ptr(), mean.shape): (mean, value) for mean, value in both}.values())
        self._counts = [pair for pair in pairs if not pair[0].dtype.is_floating_point]  # of batches
        self._means = [mean for mean, _ in pairs if mean.dtype.is_floating_point]
        self._values = [value for _, value in pairs if value.dtype.is_floating_point]

    @torch.no_grad()
    def update(self, weight: Tensor | None) -> None:
        """Go `weight` of the way to the model; None: no averaging."""
        if weight is None:
            torch._foreach_copy_(self._means, self._values)
        else:
            steps = torch._foreach_sub(self._values, self._means)
            torch._foreach_mul_(steps, weight)
            torch._foreach_add_(self._means, steps)
        for mean, value in self._counts:
            mean.copy_(value)
