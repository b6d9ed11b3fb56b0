"""Golden values of train::optimizer from PyTorch: AdamW with two parameter groups and clipping by global norm.
Use: python make.py > expected.json"""
import json
import torch

torch.manual_seed(7)
matrix = torch.nn.Parameter(torch.randn(3, 4))
bias = torch.nn.Parameter(torch.randn(3))
start = dict(matrix=matrix.detach().flatten().tolist(), bias=bias.detach().tolist())
optimizer = torch.optim.AdamW(
    [dict(params=[matrix], weight_decay=0.1), dict(params=[bias], weight_decay=0.0)], lr=1.0, betas=(0.9, 0.999), eps=1e-8
)
steps = []
for lr, scale in [(0.01, 0.1), (0.02, 5.0), (0.015, 1.0), (0.001, 20.0)]:
    for group in optimizer.param_groups:
        group["lr"] = lr
    matrix.grad, bias.grad = torch.randn(3, 4) * scale, torch.randn(3) * scale
    grads = dict(matrix_grad=matrix.grad.flatten().tolist(), bias_grad=bias.grad.tolist())
    norm = torch.nn.utils.clip_grad_norm_([matrix, bias], 1.0).item()
    optimizer.step()
    steps.append(dict(lr=lr, norm=norm, matrix=matrix.detach().flatten().tolist(), bias=bias.detach().tolist(), **grads))
print(json.dumps(dict(start=start, weight_decay=0.1, clip=1.0, steps=steps), indent=1))
