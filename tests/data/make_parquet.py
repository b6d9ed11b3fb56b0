"""Writes products.parquet, a table as pandas writes it, and vectors.parquet, with lists of floats (pandas 2 or later, pyarrow): python make_parquet.py"""
import pathlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent

frame = pd.DataFrame({
    "name": ["Клей «Момент», 5 л", None, "a\nb"],
    "id": [11, 12, 13],
    "price": [12.5, float("nan"), 100.0],
    "stock": pd.array([3, 0, -1], dtype="int32"),
    "sold": [True, False, True],
    "seen": pd.to_datetime(["2024-03-01 10:20:30", None, "2024-03-02 00:00:00"]).astype("datetime64[ms]"),
})


def of_vectors():
    """Of a list that is whole, one with whole numbers and small ones, an empty one, none."""
    lists = [[0.5, -1.25, 2.0], [3.0, 1e-7, 123456.0], [], None]
    vectors = {"picture": pa.array(lists, pa.list_(pa.float32())), "sound": pa.array(lists, pa.list_(pa.float64()))}
    pq.write_table(pa.table({"id": [1, 2, 3, 4], **vectors, "name": ["a", "b", "c", "d"]}), HERE / "vectors.parquet")


if __name__ == "__main__":
    frame.to_parquet(HERE / "products.parquet", index=False)
    of_vectors()
