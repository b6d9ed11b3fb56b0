"""Golden values of losses::bce_with_logits from PyTorch. Use: python make.py > expected.json"""
import json
import torch

cases = []
for logits, smoothing in [([0.0, 1.5, -2.25, 0.5, -0.0], 0.0), ([80.0, -80.0, 30.0, -30.0, 1e-4], 0.1), ([0.3, -0.7, 2.0, 4.0, -9.0], 0.05)]:
    z = torch.tensor(logits, requires_grad=True)
    y = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.25])
    w = torch.tensor([1.0, 0.5, 2.0, 0.125, 3.0])
    soft = y * (1 - smoothing) + smoothing / 2
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, soft, w, reduction="sum")
    loss.backward()
    cases.append(dict(logits=logits, targets=y.tolist(), weights=w.tolist(), smoothing=smoothing, loss=loss.item(), grad=z.grad.tolist()))
print(json.dumps(cases, indent=1))
