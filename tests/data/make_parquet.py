"""Writes products.parquet, a table as pandas writes it (pandas 2 or later, pyarrow): python make_parquet.py"""
import pathlib

import pandas as pd

frame = pd.DataFrame({
    "name": ["Клей «Момент», 5 л", None, "a\nb"],
    "id": [11, 12, 13],
    "price": [12.5, float("nan"), 100.0],
    "stock": pd.array([3, 0, -1], dtype="int32"),
    "sold": [True, False, True],
    "seen": pd.to_datetime(["2024-03-01 10:20:30", None, "2024-03-02 00:00:00"]).astype("datetime64[ms]"),
})
frame.to_parquet(pathlib.Path(__file__).with_name("products.parquet"), index=False)
