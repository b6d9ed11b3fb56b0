"""Reformer's hashed attention of one head (Kitaev et al., ICLR 2020), written from the paper on dense matrices, and its gradients by autograd.

    python make.py     (torch; writes expected.json into its folder)

Every pair of tokens gets the number of rounds in which the first sees the second; one softmax over all pairs counts each so often. That is
what the rounds' results, weighed by the exponentials of their logsumexp, come to.
"""
import json
import pathlib

import torch

torch.manual_seed(1)


def case(t, d, chunk, rounds, queries=None):
    queries = queries or t
    q = torch.randn(t, d, dtype=torch.float64).float().double().requires_grad_()
    v = torch.randn(t, d).double().requires_grad_()
    d_out = torch.randn(queries, d).double()
    axes = -(-t // (2 * chunk))
    rotations = torch.randn(rounds, axes, d)
    seen, orders = torch.zeros(t, t, dtype=torch.float64), []
    for rotation in rotations.double():
        turned = q.detach() @ rotation.T
        buckets = torch.cat([turned, -turned], 1).argmax(1)
        order = sorted(range(t), key=lambda i: (int(buckets[i]), i))
        orders.append(order)
        chunks = [order[i:i + chunk] for i in range(0, t, chunk)]
        for i, own in enumerate(chunks):
            others = own + (chunks[i - 1] if len(chunks) > 1 else [])
            for a in own:
                for b in others:
                    seen[a, b] += 1
    keys = q / q.norm(dim=1, keepdim=True)
    scores = (q @ keys.T).masked_fill(torch.eye(t, dtype=torch.bool), -1e5)
    # log 0 where a pair is never seen
    out = (scores + seen.log()).softmax(1)[:queries] @ v
    out.backward(d_out)
    flat = lambda x: [float(f"{value:.8g}") for value in x.detach().flatten().tolist()]
    return {"chunk": chunk, "d": d, "q": flat(q), "v": flat(v), "d_out": flat(d_out), "rotations": [flat(r) for r in rotations],
            "orders": orders, "out": flat(out), "d_q": flat(q.grad), "d_v": flat(v.grad)}


cases = [case(12, 4, 4, 1), case(12, 4, 4, 3), case(37, 6, 8, 2), case(7, 4, 16, 2), case(1, 4, 4, 2), case(33, 4, 4, 2, queries=1)]
(pathlib.Path(__file__).parent / "expected.json").write_text(json.dumps(cases) + "\n")
