"""A training step of a 48-MMAC binary network on 3x32x32 images in PyTorch eager mode.

The network of crates/onebit-train/benches/step.rs; `cargo xtask bench step` runs both in turn.
Environment: T threads, BATCH images, SECS seconds, CL=1 for the channels-last layout. Prints one line.
Needs `pip install torch`.
"""

import os
import time

import torch
from torch import nn
from torch.nn import functional as F


class Sign(torch.autograd.Function):
    """+1 or -1; the gradient passes where |x| <= 1."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x > 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class BinaryConv(nn.Conv2d):
    def forward(self, x):
        scale = self.weight.abs().mean((1, 2, 3), keepdim=True).detach()
        return F.conv2d(Sign.apply(x), Sign.apply(self.weight) * scale, None, self.stride, self.padding)


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv = BinaryConv(channels, out, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.prelu = nn.PReLU(out)
        self.stride = stride

    def forward(self, x):
        y = self.bn(self.conv(x))
        if self.stride == 2:
            pooled = F.avg_pool2d(x, 2)
            x = torch.cat([pooled, pooled], 1)
        return self.prelu(y + x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        blocks = [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        self.stem = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(Block(*b) for b in blocks))
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def main():
    batch, threads = int(os.environ.get("BATCH", 64)), int(os.environ.get("T", 1))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net, images = Net(), torch.randn(batch, 3, 32, 32)
    labels = torch.randint(0, 10, (batch,))
    if os.environ.get("CL"):
        net = net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters(), 1e-3)

    def step():
        adam.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        adam.step()
        return loss.item()

    losses = [step() for _ in range(4)]
    assert losses[3] < losses[0], losses
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < float(os.environ.get("SECS", 8)):
        step()
        steps += 1
    each = (time.perf_counter() - start) / steps
    print(f"torch {torch.__version__} threads={threads} B={batch} {batch / each:.1f} img/s ({each * 1e3:.1f} ms/step)")


main()
