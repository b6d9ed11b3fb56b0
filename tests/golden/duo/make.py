#!/usr/bin/env python3
"""Scores of a duo over the random checkpoint of tests/golden/bert/rubert, by transformers and PyTorch.

    python tests/golden/duo/make.py            (torch, transformers, safetensors)

The segment table gets a third row, a copy of the second. A triple is [CLS] q [SEP] d_i [SEP] d_j [SEP] with segments 0, 1, 2; the score of d_i is the
mean over j of the sigmoid of its logit. Writes expected.json: the logits of all ordered pairs and the scores, for each query.
"""

import json
from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer

HERE = Path(__file__).resolve().parent
FROM = HERE.parent / "bert" / "rubert"
QUERIES = ["Монитор игровой Acer 27 дюймов", "Чай чёрный 100 пакетиков", ""]
DOCUMENTS = ["монитор LG 27", "Чай зелёный, 25 пакетов по 2 г", "Ёлка № 5, 250мл/100г", "чай"]


@torch.no_grad()
def main():
    torch.set_num_threads(2)
    tokenizer = BertTokenizer(str(FROM / "vocab.txt"), do_lower_case=False)
    model = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").eval()
    table = model.bert.embeddings.token_type_embeddings.weight
    grown = torch.nn.Embedding.from_pretrained(torch.cat([table, table[1:2]]))
    model.bert.embeddings.token_type_embeddings = grown
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    cases = []
    for query in QUERIES:
        logits, scores = [], []
        for i, first in enumerate(DOCUMENTS):
            won = []
            for j, second in enumerate(DOCUMENTS):
                if i == j:
                    continue
                parts = [[cls, *ids(query), sep], [*ids(first), sep], [*ids(second), sep]]
                segments = [n for n, part in enumerate(parts) for _ in part]
                out = model(input_ids=torch.tensor([sum(parts, [])]), token_type_ids=torch.tensor([segments]))
                logits.append(float(f"{out.logits[0, 0].item():.8g}"))
                won.append(torch.sigmoid(out.logits[0, 0]).item())
            scores.append(float(f"{sum(won) / len(won):.8g}"))
        cases.append({"query": query, "logits": logits, "scores": scores})
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    documents = json.dumps(DOCUMENTS, ensure_ascii=False)
    (HERE / "expected.json").write_text(f'{{"documents": {documents}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
