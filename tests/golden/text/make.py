"""Small tokenizers and the ids that transformers gives to pairs with them. Run: python tests/golden/text/make.py

cased/     RuBERT style: vocab.txt alone, upper-case Cyrillic and Latin pieces, no settings
uncased/   BERT style: tokenizer.json, vocab.txt and tokenizer_config.json
unigram/   XLM-RoBERTa style: tokenizer.json, `<s> A </s></s> B </s>`
"""

import json
import os
import shutil

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = [
    "Средство универсальное Prosept Universal Spray, 500мл",
    "Концентрат Prosept Multipower для мытья полов, цитрус 1л",
    "Удалитель ржавчины PROSEPT RUST REMOVER 0,5 л (023-05)",
    "Антисептик невымываемый для ответственных конструкций, концентрат 1:10 / 1 л",
    "Гель для душа «Зелёный чай», 250 мл, арт. ГД-250/З",
    "Краска акриловая белая матовая 2.5 кг для стен и потолков",
    "Sony Cyber-shot DSC-W120/B digital camera, black, 7.2 megapixels",
    "sony dsc-w120 /b cyber shot camera black",
    "Canon PowerShot SD1100 IS 8MP Digital Camera with 3x Optical Zoom (Blue)",
    "Adobe Photoshop Elements 6.0 upgrade for Windows",
    "LaCie 500GB USB 2.0 hard drive, design by F.A. Porsche - 301302U",
    "Café au lait crème brûlée 12 oz",
    "Ёлка искусственная «Сказка» 180 см, зелёная",
    "Дрель-шуруповёрт аккумуляторная 18 В, 2 АКБ, кейс",
    "", "a", "5 л", "ab\u200bc\u00a0d", "日本 camera", "[SEP] [CLS] 1", "x" * 120,
]
# transformers takes an empty second text for none
PAIRS = [
    (a, TEXTS[j % len(TEXTS)]) for i, a in enumerate(TEXTS) for j in (i + 1, i * 7 + 3) if TEXTS[j % len(TEXTS)]
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def folder(name):
    path = os.path.join(HERE, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def wordpiece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS[:14], trainer)
    return [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda p: p[1])]


def cased():
    path = folder("cased")
    vocab = os.path.join(path, "vocab.txt")
    with open(vocab, "w") as file:
        file.writelines(piece + "\n" for piece in wordpiece(False))
    return BertTokenizerFast(vocab=vocab, do_lower_case=False)


def uncased():
    path = folder("uncased")
    vocab = os.path.join(path, "vocab.txt")
    with open(vocab, "w") as file:
        file.writelines(piece + "\n" for piece in wordpiece(True))
    tokenizer = BertTokenizerFast(vocab=vocab, do_lower_case=True)
    tokenizer.backend_tokenizer.enable_truncation(32)  # as published files have it; not to be obeyed
    tokenizer.backend_tokenizer.enable_padding(length=32)
    tokenizer.save_pretrained(path)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def unigram():
    path = folder("unigram")
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS[:14], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", tokenizer.token_to_id("<s>")), ("</s>", tokenizer.token_to_id("</s>"))],
    )
    tokenizer.save(os.path.join(path, "tokenizer.json"), pretty=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


def main():
    expected = {"texts": TEXTS}
    for make in (cased, uncased, unigram):
        tokenizer = make()
        # split_special_tokens: special tokens spelled out in a text are plain text to us
        rows = []
        for left, right in PAIRS:
            # white space is collapsed before any tokenizer sees the text
            out = tokenizer(" ".join(left.split()), " ".join(right.split()), return_token_type_ids=True,
                            split_special_tokens=True)
            rows.append([TEXTS.index(left), TEXTS.index(right), out["input_ids"], out["token_type_ids"]])
        cut = []
        for left, right in PAIRS:
            out = tokenizer(" ".join(left.split()), " ".join(right.split()), truncation="longest_first",
                            max_length=24, split_special_tokens=True)
            cut.append([TEXTS.index(left), TEXTS.index(right), out["input_ids"]])
        expected[make.__name__] = {"pairs": rows, "cut_to_24": cut, "vocab_size": len(tokenizer)}
    with open(os.path.join(HERE, "expected.json"), "w") as file:
        json.dump(expected, file, ensure_ascii=False)
        file.write("\n")


main()
